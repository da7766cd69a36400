//! Names of functions as people know them, for hooks that show or find functions of programs.

#![warn(missing_docs)]

mod mini_debug_info;

use std::fmt::{self, Write};

use cpp_demangle::DemangleOptions;
pub use mini_debug_info::unpack_mini_debug_info;

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
        Err(_) => write_cpp(symbol, &DemangleOptions::new(), &mut name),
    };
    (outcome.is_ok() || name.is_cut).then_some(name.text)
}

/// The name of a C++ function as the source has it, such as `ns::K::get`: without parameters, and without what surrounds
/// them. All overloads share it. It is cut as that of [`decoded`] is. Nothing, if none is encoded; nor for a copy of a
/// function that a compiler has made with other parameters (`.isra.0`, `.constprop.0`).
pub fn without_types(symbol: &str, longest: usize) -> Option<String> {
    if !symbol.starts_with("_Z") || symbol.contains('.') || rustc_demangle::try_demangle(symbol).is_ok() {
        return None;
    }
    let mut name = Name::of_at_most(longest);
    let outcome = write_cpp(symbol, &DemangleOptions::new().no_params().no_return_type(), &mut name);
    // What the library leaves of `get() const &`.
    let mut text = name.text.as_str();
    while let Some(shorter) = QUALIFIERS.iter().find_map(|qualifier| text.strip_suffix(qualifier)) {
        text = shorter;
    }
    (outcome.is_ok() || name.is_cut).then(|| text.to_owned())
}

/// What may follow the parameters of a C++ function.
const QUALIFIERS: [&str; 4] = [" const", " volatile", " &", " &&"];

fn write_cpp(symbol: &str, options: &DemangleOptions, name: &mut Name) -> fmt::Result {
    let symbol = cpp_demangle::Symbol::new(symbol).map_err(|_| fmt::Error)?;
    symbol.structured_demangle(name, options)
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
    fn overloads_have_one_name() {
        for (symbol, name) in [
            ("_Z3fooid", "foo"),
            ("_ZNK2ns1K3getEi", "ns::K::get"),
            ("_ZNVK2ns1K3getEv", "ns::K::get"),
            ("_ZNR2ns1K3getEv", "ns::K::get"),
            ("_ZNKO2ns1K3getEv", "ns::K::get"),
            ("_ZN2ns3maxIiEET_S1_", "ns::max<int>"),
            ("_ZN1AC2Ei", "A::A"),
            ("_ZN1AD1Ev", "A::~A"),
            ("_ZN2nsanERKNS_1AES2_", "ns::operator&"),
            ("_ZNK1AclEi", "A::operator()"),
            ("_ZN1AcvRiEv", "A::operator int&"),
            ("_ZZN2ns1fEiENKUlvE_clEv", "ns::f(int)::{lambda()#1}::operator()"),
        ] {
            assert_eq!(without_types(symbol, 512).as_deref(), Some(name), "{symbol}");
        }
        for symbol in ["main", "t", "_Znonsense", "_ZN4core3fmt5write17h0123456789abcdefE", "_Z3fooid.isra.0"]
        {
            assert_eq!(without_types(symbol, 512), None);
        }
        assert_eq!(without_types("_Z3fooid", 2).as_deref(), Some("fo…"));
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
            prop_assert!(without_types(&symbol, longest).is_none_or(|name| name.chars().count() <= longest + 1));
        }
    }
}
