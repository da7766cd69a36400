use std::fmt::{self, Write};

use cpp_demangle::DemangleOptions;

use crate::demangling_time::{Depth, parse_cpp, within_limits};

/// The longest symbol that is demangled, in bytes. Compilers make some of 3,700 bytes.
const MAX_SYMBOL: usize = 4096;

/// The name of a function to show: demangled, or the symbol as it is. A name of more than `max_chars` characters is cut, and
/// ends in `…`.
pub fn display_name(symbol: &str, max_chars: usize) -> String {
    demangle(symbol, max_chars).unwrap_or_else(|| cut(symbol, max_chars))
}

/// The same, as [`Depth`] says.
pub(crate) fn demangle_at(symbol: &str, max_chars: usize, depth: Depth) -> Option<String> {
    let mut name = LimitedName::new(max_chars);
    let outcome = match rustc_demangle::try_demangle(symbol) {
        Ok(rust) => write!(name, "{rust:#}"),
        Err(_) => write_cpp(symbol, &DemangleOptions::new(), depth, &mut name),
    };
    (outcome.is_ok() || name.is_cut).then_some(name.text)
}

/// A symbol as it is, but cut as the name that [`display_name`] shows.
pub fn cut(symbol: &str, max_chars: usize) -> String {
    let mut name = LimitedName::new(max_chars);
    // An error means that it was cut.
    let _ = name.write_str(symbol);
    name.text
}

/// Whether a symbol may be mangled, and is demangled. The C++ demangler takes the C function `t` for the type unsigned short.
pub fn is_mangled(symbol: &str) -> bool {
    (symbol.starts_with("_Z") || symbol.starts_with("_R")) && symbol.len() <= MAX_SYMBOL
}

/// Whether a symbol may be one of C++, and is demangled. The older mangling of Rust looks like that of C++.
pub(crate) fn is_cpp(symbol: &str) -> bool {
    is_mangled(symbol) && symbol.starts_with("_Z") && rustc_demangle::try_demangle(symbol).is_err()
}

/// Demangles the symbol of a Rust function (without the hash at its end) or of a C++ function (with its parameters). A name
/// of more than `max_chars` characters is cut, and ends in `…`: a short symbol can stand for gigabytes. `None`, if the symbol
/// is not mangled, or takes too long to demangle.
pub fn demangle(symbol: &str, max_chars: usize) -> Option<String> {
    if !is_mangled(symbol) {
        return None;
    }
    within_limits(symbol, move |symbol, depth| demangle_at(symbol, max_chars, depth))?
}

/// Demangles the symbol of a C++ function to the name alone, such as `ns::K::get`: without parameters, return type and
/// qualifiers. All overloads share it. It is cut as that of [`demangle`] is. `None`, if the symbol is not mangled, or stands
/// for a copy of a function that a compiler has made with other parameters (`.isra.0`, `.constprop.0`).
pub fn demangle_without_types(symbol: &str, max_chars: usize, depth: Depth) -> Option<String> {
    if !is_cpp(symbol) || symbol.contains('.') {
        return None;
    }
    let mut name = LimitedName::new(max_chars);
    let outcome = write_cpp(symbol, &DemangleOptions::new().no_params().no_return_type(), depth, &mut name);
    // The library leaves the qualifiers, as in `get() const &`.
    let mut text = name.text.as_str();
    while let Some(shorter) = QUALIFIERS.iter().find_map(|qualifier| text.strip_suffix(qualifier)) {
        text = shorter;
    }
    (outcome.is_ok() || name.is_cut).then(|| text.to_owned())
}

/// The same with its parameters, but without its return type.
pub(crate) fn demangle_without_return_type(symbol: &str, max_chars: usize, depth: Depth) -> Option<String> {
    if !is_cpp(symbol) {
        return None;
    }
    let mut name = LimitedName::new(max_chars);
    let outcome = write_cpp(symbol, &DemangleOptions::new().no_return_type(), depth, &mut name);
    (outcome.is_ok() || name.is_cut).then_some(name.text)
}

/// What can follow the parameters of a C++ function.
const QUALIFIERS: [&str; 4] = [" const", " volatile", " &", " &&"];

fn write_cpp(symbol: &str, options: &DemangleOptions, depth: Depth, name: &mut LimitedName) -> fmt::Result {
    parse_cpp(symbol, depth).map_err(|_| fmt::Error)?.structured_demangle(name, options)
}

/// A name of limited length, in characters.
struct LimitedName {
    text: String,
    left: usize,
    is_cut: bool,
}

impl LimitedName {
    fn new(max_chars: usize) -> Self {
        Self { text: String::new(), left: max_chars, is_cut: false }
    }
}

impl Write for LimitedName {
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
    use crate::spellings::spellings;

    #[test]
    fn symbols_are_demangled_to_names_of_the_source() {
        for (symbol, name) in [
            ("_Z3fooid", "foo(int, double)"),
            ("_ZN9container6insertEi", "container::insert(int)"),
            ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back(int&&)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ] {
            assert_eq!(demangle(symbol, 512).as_deref(), Some(name));
            assert_eq!(display_name(symbol, 512), name);
        }
    }

    #[test]
    fn overloads_share_the_name_without_types() {
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
            assert_eq!(
                demangle_without_types(symbol, 512, Depth::Shallow).as_deref(),
                Some(name),
                "{symbol}"
            );
        }
        for symbol in ["main", "t", "_Znonsense", "_ZN4core3fmt5write17h0123456789abcdefE", "_Z3fooid.isra.0"]
        {
            assert_eq!(demangle_without_types(symbol, 512, Depth::Shallow), None);
        }
        assert_eq!(demangle_without_types("_Z3fooid", 2, Depth::Shallow).as_deref(), Some("fo…"));
    }

    #[test]
    fn unmangled_symbols_stay_as_they_are() {
        for symbol in ["main", "t", "f", "Pi", "RNvC1a1b", "main.(*T).Work", "_Znonsense", "_Zgarbage"] {
            assert_eq!(demangle(symbol, 512), None);
            assert_eq!(display_name(symbol, 512), symbol);
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(display_name(&"x".repeat(10_000), 512), "x".repeat(512) + "…");
        assert_eq!(display_name(&"x".repeat(512), 512), "x".repeat(512));
    }

    #[test]
    fn a_long_symbol_stays_as_it_is() {
        let long = format!("_Z1f{}", "i".repeat(MAX_SYMBOL));
        assert_eq!((demangle(&long, 512), is_mangled(&long)), (None, false));
        assert_eq!(spellings(&long, 2 * MAX_SYMBOL), [long]);
    }

    #[test]
    fn a_short_symbol_of_a_huge_name_is_cut() {
        // Each argument is a pair of the one before, twice.
        let pairs: String =
            ('1'..='9').chain('A'..='H').map(|last| format!("S0_IS{last}_S{last}_E")).collect();
        let name = display_name(&format!("_Z1f1a4pairIS_S_E{pairs}"), 512);
        assert!(name.starts_with("f(a, pair<a, a>, pair<pair<a, a>, ") && name.ends_with('…'), "{name}");
    }

    proptest! {
        #[test]
        fn any_symbol_stays_within_the_limit(symbol in "_(Z|R)[A-Za-z0-9_]{0,60}", max_chars in 0_usize..100) {
            prop_assert!(display_name(&symbol, max_chars).chars().count() <= max_chars + 1);
            prop_assert!(demangle_without_types(&symbol, max_chars, Depth::Shallow).is_none_or(|name| name.chars().count() <= max_chars + 1));
        }
    }
}
