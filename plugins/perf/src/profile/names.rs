//! Names of functions as people know them.

use std::fmt::{self, Write};
use std::sync::Arc;

use cpp_demangle::DemangleOptions;

/// A longer one is cut: names of templates can grow without end, and short symbols can stand for gigabytes.
const LONGEST: usize = 512;

/// The name of a function as its programmer wrote it, where the compiler has encoded that.
pub fn readable(symbol: &str) -> Arc<str> {
    let mut name = Name::default();
    let decoded = match rustc_demangle::try_demangle(symbol) {
        // To who decodes C++, `t` is an unsigned short.
        _ if !symbol.starts_with("_Z") && !symbol.starts_with("_R") => Err(fmt::Error),
        Ok(rust) => write!(name, "{rust:#}"),
        Err(_) => cpp_demangle::Symbol::new(symbol)
            .map_or(Err(fmt::Error), |cpp| cpp.structured_demangle(&mut name, &DemangleOptions::new())),
    };
    if decoded.is_err() && !name.is_cut {
        name = Name::default();
        // It may be cut as well.
        let _ = name.write_str(symbol);
    }
    name.text.into()
}

/// A name that takes no more than it may be long.
#[derive(Default)]
struct Name {
    text: String,
    length: usize,
    is_cut: bool,
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.length == LONGEST {
                if !std::mem::replace(&mut self.is_cut, true) {
                    self.text.push('…');
                }
                return Err(fmt::Error);
            }
            self.text.push(letter);
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn names_of_all_languages() {
        assert_eq!(
            ["main", "t", "f", "Pi", "RNvC1a1b"].map(|name| readable(name).to_string()),
            ["main", "t", "f", "Pi", "RNvC1a1b"]
        );
        assert_eq!(
            &*readable("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(
            &*readable("_ZNSt6vectorIiSaIiEE9push_backEOi"),
            "std::vector<int, std::allocator<int> >::push_back(int&&)"
        );
        assert_eq!(&*readable("main.(*T).Work"), "main.(*T).Work");
        assert_eq!(&*readable("_Zgarbage"), "_Zgarbage");
        assert_eq!(readable(&"x".repeat(10_000)).chars().count(), 513);
        assert_eq!(readable(&"x".repeat(512)).chars().count(), 512);
    }

    #[test]
    fn a_short_symbol_can_stand_for_a_name_without_end() {
        // Each argument is a pair of the one before, twice.
        let pairs: String =
            ('1'..='9').chain('A'..='H').map(|last| format!("S0_IS{last}_S{last}_E")).collect();
        let bomb = format!("_Z1f1a4pairIS_S_E{pairs}");
        let name = readable(&bomb);
        assert!(name.starts_with("f(a, pair<a, a>, pair<pair<a, a>, ") && name.ends_with('…'), "{name}");
    }
}
