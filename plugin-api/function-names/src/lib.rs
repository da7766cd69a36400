//! Names of functions as people know them, for hooks that show or find functions of programs.

#![warn(missing_docs)]

use std::fmt::{self, Write};

use cpp_demangle::DemangleOptions;

/// What a person would call the function of this symbol: the name that a compiler has encoded in it, or the symbol as it
/// is. Of one that is longer than so many characters, these, and `…`.
pub fn readable(symbol: &str, longest: usize) -> String {
    decoded(symbol, longest).unwrap_or_else(|| {
        let mut name = Name::of_at_most(longest);
        // It may be cut as well.
        let _ = name.write_str(symbol);
        name.text
    })
}

/// The name that is encoded in a symbol: of Rust (without the hash at its end) or C++ (with the parameters). Of one that is
/// longer than so many characters, these, and `…`: a short symbol can stand for gigabytes. Nothing, if none is encoded.
pub fn decoded(symbol: &str, longest: usize) -> Option<String> {
    // To who decodes C++, the C function `t` is an unsigned short.
    if !symbol.starts_with("_Z") && !symbol.starts_with("_R") {
        return None;
    }
    let mut name = Name::of_at_most(longest);
    let outcome = match rustc_demangle::try_demangle(symbol) {
        Ok(rust) => write!(name, "{rust:#}"),
        Err(_) => cpp_demangle::Symbol::new(symbol)
            .map_or(Err(fmt::Error), |cpp| cpp.structured_demangle(&mut name, &DemangleOptions::new())),
    };
    (outcome.is_ok() || name.is_cut).then_some(name.text)
}

/// A name that takes no more than it may be long.
struct Name {
    text: String,
    left: usize,
    is_cut: bool,
}

impl Name {
    fn of_at_most(longest: usize) -> Self {
        Self { text: String::new(), left: longest, is_cut: false }
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.left == 0 {
                if !std::mem::replace(&mut self.is_cut, true) {
                    self.text.push('…');
                }
                return Err(fmt::Error);
            }
            self.text.push(letter);
            self.left -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        for (symbol, name) in [
            ("_Z3fooid", "foo(int, double)"),
            ("_ZN9container6insertEi", "container::insert(int)"),
            ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back(int&&)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ] {
            assert_eq!(decoded(symbol, 512).as_deref(), Some(name));
            assert_eq!(readable(symbol, 512), name);
        }
    }

    #[test]
    fn what_is_not_encoded_stays_as_it_is() {
        for symbol in ["main", "t", "f", "Pi", "RNvC1a1b", "main.(*T).Work", "_Znonsense", "_Zgarbage"] {
            assert_eq!(decoded(symbol, 512), None);
            assert_eq!(readable(symbol, 512), symbol);
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(readable(&"x".repeat(10_000), 512), "x".repeat(512) + "…");
        assert_eq!(readable(&"x".repeat(512), 512), "x".repeat(512));
    }

    #[test]
    fn a_short_symbol_can_stand_for_a_name_without_end() {
        // Each argument is a pair of the one before, twice.
        let pairs: String =
            ('1'..='9').chain('A'..='H').map(|last| format!("S0_IS{last}_S{last}_E")).collect();
        let name = readable(&format!("_Z1f1a4pairIS_S_E{pairs}"), 512);
        assert!(name.starts_with("f(a, pair<a, a>, pair<pair<a, a>, ") && name.ends_with('…'), "{name}");
    }

    proptest! {
        #[test]
        fn any_symbol_is_survived(symbol in "_(Z|R)[A-Za-z0-9_]{0,60}", longest in 0_usize..100) {
            prop_assert!(readable(&symbol, longest).chars().count() <= longest + 1);
        }
    }
}
