//! Which paths a user wants to see.

use glob::Pattern;
use trace_hook_api::{HookError, Result};

/// As long as a path may be (`PATH_MAX` in linux/limits.h).
const LONGEST: usize = 4096;

/// Patterns of paths, of which one is enough. Without any, every path is wanted.
pub struct Paths(Vec<Pattern>);

impl Paths {
    /// The paths of these patterns, in which `*` and `?` stand for slashes as well.
    ///
    /// # Errors
    ///
    /// One of them is none; the message says which, and where.
    pub fn of(patterns: &[String]) -> Result<Self> {
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
                HookError::usage(format!("'{text}' is no pattern: {} at {}", error.msg, error.pos))
            })
        };
        Ok(Self(patterns.iter().map(pattern).collect::<Result<_>>()?))
    }

    /// Whether a path is wanted. One that could not be read matches no pattern.
    pub fn include(&self, path: Option<&[u8]>) -> bool {
        let matches = |path: &[u8]| {
            let path = String::from_utf8_lossy(path);
            self.0.iter().any(|pattern| pattern.matches(&path))
        };
        self.0.is_empty() || path.is_some_and(matches)
    }
}

/// The library has a meaning of its own for two.
fn single_stars(text: &str) -> String {
    let mut before = None;
    text.chars().filter(|letter| !(before.replace(*letter) == Some('*') && *letter == '*')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(patterns: &[&str]) -> Paths {
        Paths::of(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn one_pattern_is_enough() {
        let etc = paths(&["/etc/*", "*.so"]);
        assert!(etc.include(Some(b"/etc/ssl/x")) && etc.include(Some(b"/lib/a.so")));
        assert!(!etc.include(Some(b"/lib/a.so.1")) && !etc.include(None));
        assert!(paths(&[]).include(None) && paths(&[]).include(Some(b"\xff")));
        assert!(paths(&["/tmp/*"]).include(Some(b"/tmp/\xff")));
        assert!(paths(&["/tmp/***.c"]).include(Some(b"/tmp/a/b.c")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let error = Paths::of(&["/a/[".to_owned()]).err().unwrap();
        assert!(error.message().contains("'/a/['"), "{error}");
        assert!(Paths::of(&[String::new()]).is_err());
    }
}
