//! The names that stand for a function when a user gives one.

use std::borrow::Cow;

use crate::demangle::{
    demangle_at, demangle_without_return_type, demangle_without_types, is_cpp, is_mangled,
};
use crate::demangling_time::{Depth, within_limits};

/// All names of the function of a symbol, as [`spelling`] has them: the symbol itself; the name that is shown; the same without its
/// return type; without parameters and qualifiers; without ABI tags; and as a path without arguments of templates, such as
/// `app::T::method` for the Rust method `<app::T>::method` and for the C++ method `app::T<int>::method[abi:cxx11](int) const`. Names
/// are cut after `max_chars` characters, and then end in `…`.
pub fn spellings(symbol: &str, max_chars: usize) -> Vec<String> {
    let others = is_mangled(symbol)
        .then(|| within_limits(symbol, move |symbol, depth| demangled_spellings(symbol, max_chars, depth)));
    let names = [symbol.to_owned()].into_iter().chain(others.flatten().unwrap_or_default());
    names.map(|name| spelling(&name).into_owned()).collect()
}

fn demangled_spellings(symbol: &str, max_chars: usize, depth: Depth) -> Vec<String> {
    let Some(shown) = demangle_at(symbol, max_chars, depth) else { return Vec::new() };
    let short = match is_cpp(symbol) {
        true => demangle_without_types(symbol, max_chars, depth),
        false => Some(shown.clone()),
    };
    let mut names = vec![shown];
    names.extend(demangle_without_return_type(symbol, max_chars, depth));
    if let Some(short) = short {
        let untagged = without_abi_tags(&short);
        names.extend([without_generics(&untagged), untagged, short]);
    }
    names
}

/// A name as it is compared: without spaces that separate no words, and with the closures of Rust as either mangling has them.
pub fn spelling(name: &str) -> Cow<'_, str> {
    if !name.contains([' ', '{']) {
        return Cow::Borrowed(name);
    }
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    let mut spelling = String::with_capacity(name.len());
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_kept = match letter {
            ' ' => spelling.ends_with(is_word) && letters.peek().copied().is_some_and(is_word),
            '{' | '}' => !spelling.ends_with(letter),
            _ => true,
        };
        if is_kept {
            spelling.push(letter);
        }
    }
    Cow::Owned(spelling)
}

/// `f[abi:cxx11]` without `[abi:cxx11]`.
fn without_abi_tags(name: &str) -> String {
    let mut parts = name.split("[abi:");
    let mut untagged = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        untagged.push_str(part.split_once(']').map_or("", |(_, after)| after));
    }
    untagged
}

/// Operators whose names have angle brackets, each before those that it begins with.
const OPERATORS: [&str; 11] = ["->*", "<=>", "<<=", ">>=", "<<", ">>", "<=", ">=", "->", "<", ">"];

/// A path without what is in angle brackets: `ns::f` for `ns::f<int>` and `ns::f::<i32>`, `app::T::act` for
/// `<app::T as app::Act>::act` and for `app::<impl app::Act for app::T>::act`; and without the numbers of closures.
fn without_generics(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
        rest = match (operator.filter(|_| path.ends_with("operator")), letter) {
            (Some(operator), _) => {
                path.push_str(operator);
                // The space before the arguments of a template.
                rest[operator.len()..].trim_start()
            }
            (None, '<') => {
                let (inner, after) = split_at_closing(after);
                let is_self = path.is_empty() || path.ends_with("::") && inner.starts_with("impl ");
                if is_self && after.starts_with("::") {
                    path = without_generics(self_type(inner));
                } else if path.ends_with("::") {
                    path.truncate(path.len() - 2);
                }
                after
            }
            // The number of a closure, as in `{closure#0}`.
            (None, '#') => after.trim_start_matches(|digit: char| digit.is_ascii_digit()),
            _ => {
                path.push(letter);
                after
            }
        };
    }
    path
}

/// The type of `T as Trait`, `impl Trait for T` and `impl T`.
fn self_type(inner: &str) -> &str {
    match inner.strip_prefix("impl ") {
        Some(implementation) => match place_outside(implementation, " for ") {
            Some(at) => &implementation[at + " for ".len()..],
            None => implementation,
        },
        None => place_outside(inner, " as ").map_or(inner, |at| &inner[..at]),
    }
}

/// The first place of a separator that is not within angle brackets.
fn place_outside(text: &str, separator: &str) -> Option<usize> {
    let (mut depth, mut previous) = (0_usize, ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' if previous != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && text[at..].starts_with(separator) {
            return Some(at);
        }
        previous = letter;
    }
    None
}

/// What is before the angle bracket that closes, and what is behind it.
fn split_at_closing(text: &str) -> (&str, &str) {
    let mut open = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '<' | '(' => open.push(letter),
            ')' => while open.pop().is_some_and(|other| other != '(') {},
            '>' if text[..at].ends_with('-') => {}
            '>' if open.is_empty() => return (&text[..at], &text[at + 1..]),
            '>' if open.last() == Some(&'<') => _ = open.pop(),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_spelled(symbol: &str, names: &[&str]) {
        let spellings = spellings(symbol, 512);
        for name in names {
            assert!(spellings.contains(&spelling(name).into_owned()), "{name} is not in {spellings:?}");
        }
    }

    #[test]
    fn functions_of_cpp_need_no_types_and_no_tags() {
        assert_spelled(
            "_ZN3app3getB5cxx11Ei",
            &["app::get", "app::get[abi:cxx11]", "app::get[abi:cxx11](int)"],
        );
        assert_spelled("_ZN2ns1fILb1EEEiv", &["int ns::f<true>()", "ns::f<true>()", "ns::f<true>", "ns::f"]);
        assert_spelled("_ZN2ns1gEPVi", &["ns::g", "ns::g(int volatile*)", "ns::g(int volatile *)"]);
        assert_spelled("_ZStlsIcEvT_", &["std::operator<< <char>", "std::operator<<"]);
        assert_spelled(
            "_ZNKSt6vectorIiSaIiEE4sizeEv",
            &["std::vector::size", "std::vector<int, std::allocator<int>>::size"],
        );
    }

    #[test]
    fn functions_of_rust_have_the_same_names_under_both_manglings() {
        let hash = "17h0123456789abcdefE";
        let method = "rs::app::T::method";
        assert_spelled(&format!("_ZN2rs3app1T6method{hash}"), &[method]);
        assert_spelled("_RNvMNtCs1_2rs3appNtB2_1T6method", &["<rs::app::T>::method", method]);
        let act = "rs::app::T::act";
        let legacy = format!("_ZN42_$LT$rs..app..T$u20$as$u20$rs..app..Tr$GT$3act{hash}");
        assert_spelled(&legacy, &["<rs::app::T as rs::app::Tr>::act", act]);
        assert_spelled("_RNvXNtCs1_2rs3appNtB2_1TNtB2_2Tr3act", &["<rs::app::T as rs::app::Tr>::act", act]);
        assert_spelled("_RINvNtCs1_2rs3app3genmEB4_", &["rs::app::gen::<u32>", "rs::app::gen"]);
        let legacy = format!("_ZN4core3str21_$LT$impl$u20$str$GT$3len{hash}");
        assert_spelled(&legacy, &["core::str::<impl str>::len", "str::len"]);
        assert_spelled("_RNCNvCs1_2rs4main0B3_", &["rs::main::{closure#0}", "rs::main::{{closure}}"]);
    }

    #[test]
    fn brackets_of_operators_and_arrows_are_no_generics() {
        for (name, path) in [
            ("A::operator<", "A::operator<"),
            ("A::operator-><int>", "A::operator->"),
            ("operator<=> <A>", "operator<=>"),
            ("f<void (*)(A<int>), (1>2)>::g", "f::g"),
            ("f::<fn() -> u8>::g", "f::g"),
            ("<fn() -> A as B<C>>::g", "fn() -> A::g"),
            ("f<", "f"),
        ] {
            assert_eq!(without_generics(name), path);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_spelled(name in "[a<>():# {}\\[\\]-]{0,30}|.{0,30}", symbol in "_(Z|R)[A-Za-z0-9_]{0,60}") {
            without_generics(&name);
            without_abi_tags(&name);
            let spelled = spelling(&name);
            prop_assert_eq!(&spelling(&spelled), &spelled);
            spellings(&symbol, 100);
        }
    }
}
