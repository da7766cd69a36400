//! Names of functions as people know them.

use std::sync::Arc;

/// A longer one is cut: names of templates can grow without end.
const LONGEST: usize = 512;

/// The name of a function as its programmer wrote it, where the compiler has encoded that.
pub fn readable(symbol: &str) -> Arc<str> {
    let name = match rustc_demangle::try_demangle(symbol) {
        Ok(name) => format!("{name:#}"),
        Err(_) => cpp_demangle::Symbol::new(symbol)
            .ok()
            .and_then(|name| name.demangle().ok())
            .unwrap_or_else(|| symbol.to_owned()),
    };
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn names_of_all_languages() {
        assert_eq!(&*readable("main"), "main");
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
    }
}
