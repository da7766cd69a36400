//! Names as a person knows them.

use std::borrow::Cow;

use cpp_demangle::DemangleOptions;

/// No name that a person wrote is longer. A made-up one could cost much time.
const LONGEST: usize = 4096;

/// The name without the compiler's encoding, or as it is.
pub fn demangle(name: &str) -> Cow<'_, str> {
    demangled(name).map_or(Cow::Borrowed(name), Cow::Owned)
}

/// The name without the compiler's encoding: of Rust (without the hash at its end) or C++ (with the parameters). Nothing,
/// if it is not encoded.
pub fn demangled(name: &str) -> Option<String> {
    if name.len() > LONGEST || !is_mangled(name) {
        return None;
    }
    match rustc_demangle::try_demangle(name) {
        Ok(rust) => Some(format!("{rust:#}")),
        Err(_) => {
            let symbol = cpp_demangle::Symbol::new(name).ok()?;
            symbol.demangle_with_options(&DemangleOptions::new()).ok()
        }
    }
}

/// Whether it begins as C++ (Itanium) and Rust (legacy, v0) encode names.
fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("_R")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(demangle("main"), "main");
        assert_eq!(demangle("_Z3fooid"), "foo(int, double)");
        assert_eq!(demangle("_ZN9container6insertEi"), "container::insert(int)");
        assert_eq!(demangle("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(demangle("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
        assert_eq!(demangle("_Znonsense"), "_Znonsense");
    }

    proptest! {
        #[test]
        fn any_name_is_survived(name in "_(Z|R)[A-Za-z0-9_]{0,60}") {
            let _ = demangle(&name);
        }
    }
}
