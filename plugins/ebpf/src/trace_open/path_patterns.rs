//! The patterns of `--path`.

use glob::Pattern;
use trace_hook_api::{HookError, Result};

/// As long as a path may be (`PATH_MAX` in linux/limits.h).
const LONGEST: usize = 4096;

/// Patterns of paths. A path is included if it matches one of them, or if there are none.
pub struct PathPatterns(Vec<Pattern>);

impl PathPatterns {
    /// Parses patterns, in which `*` and `?` match slashes as well.
    ///
    /// # Errors
    ///
    /// One of them is malformed; the message says which, and where.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let pattern = |text: &String| {
            if text.len() > LONGEST {
                let length = text.len();
                return Err(HookError::usage(format!(
                    "a pattern of {length} bytes is longer than any path; give at most {LONGEST}"
                )));
            }
            if text.is_empty() {
                return Err(HookError::usage("an empty pattern matches no path; '*' matches all"));
            }
            Pattern::new(&single_stars(text)).map_err(|error| {
                HookError::usage(format!("'{text}' is not a pattern: {} at {}", error.msg, error.pos))
            })
        };
        Ok(Self(patterns.iter().map(pattern).collect::<Result<_>>()?))
    }

    /// Whether a path matches. One that could not be read matches no pattern.
    pub fn include(&self, path: Option<&[u8]>) -> bool {
        let matches = |path: &[u8]| {
            let path = String::from_utf8_lossy(path);
            self.0.iter().any(|pattern| pattern.matches(&path))
        };
        self.0.is_empty() || path.is_some_and(matches)
    }
}

/// Two stars have a special meaning to the library.
fn single_stars(text: &str) -> String {
    let mut before = None;
    text.chars().filter(|letter| !(before.replace(*letter) == Some('*') && *letter == '*')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> PathPatterns {
        PathPatterns::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn one_matching_pattern_includes_a_path() {
        let etc_and_libraries = patterns(&["/etc/*", "*.so"]);
        assert!(
            etc_and_libraries.include(Some(b"/etc/ssl/x")) && etc_and_libraries.include(Some(b"/lib/a.so"))
        );
        assert!(!etc_and_libraries.include(Some(b"/lib/a.so.1")) && !etc_and_libraries.include(None));
        assert!(patterns(&[]).include(None) && patterns(&[]).include(Some(b"\xff")));
        assert!(patterns(&["/tmp/*"]).include(Some(b"/tmp/\xff")));
        assert!(patterns(&["/tmp/***.c"]).include(Some(b"/tmp/a/b.c")));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        let error = PathPatterns::new(&["/a/[".to_owned()]).err().unwrap();
        assert!(error.message().contains("'/a/['"), "{error}");
        assert!(PathPatterns::new(&[String::new()]).is_err());
    }
}
