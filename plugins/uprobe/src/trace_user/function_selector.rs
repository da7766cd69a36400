//! The functions that the user selects: `[BINARY:]FUNCTION`.

use std::borrow::Cow;
use std::path::Path;

use glob::Pattern as Glob;
use trace_hook_api::{HookError, Result};
use trace_symbols::{demangle, demangle_without_types};

use super::function_name::MAX_NAME;
use super::quoted::quoted;

/// A value of `--function`.
#[derive(Debug)]
pub struct FunctionSelector {
    /// As the user wrote it.
    pub text: String,
    /// `None`: the programs, and if they have no such function, their libraries.
    pub binary: Option<BinaryPattern>,
    pub function: FunctionPattern,
}

impl FunctionSelector {
    /// # Errors
    ///
    /// It does not name a function.
    pub fn parse(text: &str) -> Result<Self> {
        let (binary, function) = match single_colon(text) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        if function.is_empty() || binary == Some("") {
            return Err(HookError::usage(format!(
                "{} does not name a function: write FUNCTION or BINARY:FUNCTION, such as 'main' or 'libc.so.6:open*'",
                quoted(text)
            )));
        }
        Ok(Self {
            text: text.to_owned(),
            binary: binary.map(BinaryPattern::new).transpose()?,
            function: FunctionPattern::new(function)?,
        })
    }
}

/// The first colon that is not part of a `::`.
fn single_colon(text: &str) -> Option<usize> {
    let is_colon = |at: usize| text.as_bytes().get(at) == Some(&b':');
    (0..text.len()).find(|&at| is_colon(at) && !is_colon(at + 1) && !(at > 0 && is_colon(at - 1)))
}

/// A file name (`libc.so.6`, `libssl*`), or a path as a traced process sees it.
#[derive(Debug)]
pub struct BinaryPattern {
    text: String,
    glob: Glob,
}

impl BinaryPattern {
    fn new(text: &str) -> Result<Self> {
        Ok(Self { text: text.to_owned(), glob: glob(text)? })
    }

    /// Whether the file at this path matches.
    pub fn matches(&self, path: &Path) -> bool {
        // In a path that is not UTF-8, `?` matches what cannot be typed.
        let path = path.to_string_lossy();
        let name = path.rsplit('/').next().unwrap_or_default();
        let part = if self.text.contains('/') { &*path } else { name };
        part == self.text || self.glob.matches(part)
    }

    /// As the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path, if it is one without wildcards.
    pub fn path(&self) -> Option<&Path> {
        (self.text.starts_with('/') && !has_wildcard(&self.text)).then_some(Path::new(&self.text))
    }
}

/// The name of a function in the source or in the symbol table, with the wildcards `*` and `?`.
#[derive(Debug)]
pub struct FunctionPattern {
    pub text: String,
    glob: Option<Glob>,
    /// A part of the name that the mangled name contains as well.
    fragment: Option<String>,
}

/// Names of the standard library that are abbreviated in mangled names (Itanium C++ ABI, "Compression").
const ABBREVIATED: [&str; 9] = [
    "allocator",
    "basic_iostream",
    "basic_istream",
    "basic_ostream",
    "basic_string",
    "iostream",
    "istream",
    "ostream",
    "string",
];

impl FunctionPattern {
    /// # Errors
    ///
    /// It is not a valid pattern.
    pub fn new(text: &str) -> Result<Self> {
        let glob = has_wildcard(text).then(|| glob(text)).transpose()?;
        Ok(Self { text: text.to_owned(), glob, fragment: fragment(text) })
    }

    /// Whether it can match several names.
    pub fn has_wildcard(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether the function of this symbol matches. C++ functions also match without their parameters.
    pub fn matches(&self, symbol: &str) -> bool {
        self.matches_name(symbol) || (self.may_match_demangled(symbol) && self.matches_demangled(symbol))
    }

    /// A quick check: demangling all names of a large program takes more than a second.
    fn may_match_demangled(&self, symbol: &str) -> bool {
        self.fragment.as_ref().is_none_or(|fragment| symbol.contains(fragment.as_str()))
    }

    fn matches_demangled(&self, symbol: &str) -> bool {
        let full = demangle(symbol, MAX_NAME);
        let without_parameters = full.as_deref().map(|name| without_parameters(name).into_owned());
        let names = [full, without_parameters, demangle_without_types(symbol, MAX_NAME)];
        names.iter().flatten().any(|name| self.matches_name(name) || self.matches_name(&plain(name)))
    }

    fn matches_name(&self, name: &str) -> bool {
        name == self.text || self.glob.as_ref().is_some_and(|glob| glob.matches(name))
    }
}

/// The longest identifier, or part of one, that mangling leaves as it is. It is looked for in the path of the function: types, literals
/// and operators have words that mangled names abbreviate.
fn fragment(pattern: &str) -> Option<String> {
    let path = pattern.split("operator").next().unwrap_or_default();
    let path = path.split(['(', '<', '[', '{', '\'', '`']).next().unwrap_or_default();
    // Before it is the type that a template returns.
    let path = path.rsplit(' ').next().unwrap_or_default();
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_kept = |word: &&str| {
        word.len() > 2
            && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && *word != "std"
            && !ABBREVIATED.contains(word)
    };
    let is_plain = pattern.is_ascii();
    words.filter(|_| is_plain).filter(is_kept).max_by_key(|word| word.len()).map(str::to_owned)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Brackets are literal: they are part of the names of operators and generic types.
fn glob(text: &str) -> Result<Glob> {
    let mut escaped = text.replace('[', "[[]");
    while escaped.contains("**") {
        escaped = escaped.replace("**", "*");
    }
    Glob::new(&escaped)
        .map_err(|error| HookError::usage(format!("{} is not a valid pattern: {}", quoted(text), error.msg)))
}

/// `ns::f(int)` without `(int)`.
fn without_parameters(name: &str) -> Cow<'_, str> {
    match name.strip_suffix(')').and_then(|_| last_group(name)) {
        Some(open) => Cow::Borrowed(&name[..open]),
        None => Cow::Borrowed(name),
    }
}

/// A demangled name as people write it: without ABI tags (`get[abi:cxx11]`), and of Rust `T::method` for `<T>::method`, and
/// `generic` for `generic::<u32>`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("[abi:") {
            rest.find(']').map(|end| end + 1)
        } else if rest.starts_with("::<") {
            closing_angle(&rest[2..]).map(|end| 2 + end + 1)
        } else {
            None
        };
        let length = skipped.unwrap_or(next.len_utf8());
        if skipped.is_none() {
            plain.push(next);
        }
        rest = &rest[length..];
    }
    match closing_angle(&plain) {
        Some(end) if !plain[1..end].contains(" as ") => format!("{}{}", &plain[1..end], &plain[end + 1..]),
        _ => plain,
    }
}

/// The place of the bracket that closes the one at the beginning, if there is one.
fn closing_angle(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            // Not in `->`.
            b'>' if before != b'-' => depth -= 1,
            _ => {}
        }
        before = byte;
        if depth == 0 {
            return (at > 0).then_some(at);
        }
    }
    None
}

/// The place of the parenthesis that the last one closes.
pub fn last_group(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' if depth == 1 => return Some(at),
            b'(' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_binary_is_before_a_single_colon() {
        let parts = |text: &str| {
            let selector = FunctionSelector::parse(text).unwrap();
            (selector.binary.map(|binary| binary.text), selector.function.text)
        };
        let of = |binary: &str, function: &str| (Some(binary.to_owned()), function.to_owned());
        assert_eq!(parts("main"), (None, "main".to_owned()));
        assert_eq!(parts("std::vec::Vec"), (None, "std::vec::Vec".to_owned()));
        assert_eq!(parts("libc.so.6:open*"), of("libc.so.6", "open*"));
        assert_eq!(parts("/usr/bin/x:ns::f"), of("/usr/bin/x", "ns::f"));
        for none in ["", ":", "libc:", ":open"] {
            assert!(FunctionSelector::parse(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn binaries_match_by_name_or_path() {
        let matches =
            |pattern: &str, path: &str| BinaryPattern::new(pattern).unwrap().matches(Path::new(path));
        assert!(matches("libc.so.6", "/usr/lib/libc.so.6"));
        assert!(matches("libc*", "/usr/lib/libc.so.6"));
        assert!(!matches("libc", "/usr/lib/libc.so.6"));
        assert!(matches("/usr/*/libc.so.6", "/usr/lib/libc.so.6"));
        assert!(!matches("/lib/libc.so.6", "/usr/lib/libc.so.6"));
    }

    #[test]
    fn functions_match_by_any_of_their_names() {
        let matches = |pattern: &str, symbol: &str| FunctionPattern::new(pattern).unwrap().matches(symbol);
        assert!(matches("open", "open") && !matches("open", "open64") && matches("open*", "open64"));
        assert!(matches("_Z3fooid", "_Z3fooid"));
        assert!(matches("foo", "_Z3fooid") && matches("foo(int, double)", "_Z3fooid"));
        assert!(
            matches("ns::K::get", "_ZNK2ns1K3getEi") && matches("ns::K::get(int) const", "_ZNK2ns1K3getEi")
        );
        assert!(matches("ns::max<*>", "_ZN2ns3maxIiEET_S1_"));
        assert!(matches("core::fmt::*", "_ZN4core3fmt5write17h0123456789abcdefE"));
        assert!(matches("core::fmt::write", "_ZN4core3fmt5write17h0123456789abcdefE"));
        assert!(matches("main.(*Server).Handle", "main.(*Server).Handle"));
        assert!(matches("main.(**", "main.(*Server).Handle"));
        assert!(matches("Map[string].*", "Map[string].Get"));
        assert!(!matches("foo", "_Z4foooid"));
        assert!(matches("operator new(unsigned long)", "_Znwm"));
        assert!(matches("ns::operator+", "_ZN2nsplEii"));
        assert!(matches("mycrate::*{closure*", "_RNCNvCs1234_7mycrate3foo0B3_"));
        assert!(
            matches("app::get", "_ZN3app3getB5cxx11Ei")
                && matches("app::get[abi:cxx11](int)", "_ZN3app3getB5cxx11Ei")
        );
        assert!(
            matches("ns::g(int volatile*)", "_ZN2ns1gEPVi") && matches("ns::f<true>", "_ZN2ns1fILb1EEEiv")
        );
        assert!(matches("int ns::h<__int128>(__int128)", "_ZN2ns1hInEEiT_"));
        assert!(matches("ns::K::m() volatile", "_ZNV2ns1K1mEv"));
        let method = "_RNvMNtCsbFYJioi4cCO_2rs3appNtB2_1T6method";
        assert!(matches("rs::app::T::method", method) && matches("<rs::app::T>::method", method));
        let generic = "_RINvNtCsbFYJioi4cCO_2rs3app3genmEB4_";
        assert!(matches("rs::app::gen", generic) && matches("rs::app::gen::<u32>", generic));
    }

    /// Of the functions of this program, and of the library of C++ if it is there.
    #[test]
    fn every_name_that_is_shown_is_a_name_that_selects_its_function() {
        let names = crate::trace_user::function_name::display_name;
        let mut tried = 0;
        for file in [
            "/proc/self/exe",
            "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
            "/usr/lib/aarch64-linux-gnu/libstdc++.so.6",
        ] {
            let Ok(file) = std::fs::File::open(file) else { continue };
            let budget = trace_symbols::MemoryBudget::new(256 << 20);
            let elf = trace_symbols::ElfFile::parse(&file, &budget).unwrap();
            let mut symbols = Vec::new();
            elf.visit_functions(|function| {
                symbols.push(String::from_utf8_lossy(function.name).into_owned());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            let step = symbols.len() / 2000 + 1;
            for symbol in symbols.iter().step_by(step) {
                let shown = names(symbol);
                // It is no pattern: the wildcards of pointers match themselves.
                let pattern = FunctionPattern::new(&shown).unwrap();
                assert!(pattern.matches(symbol), "{shown} for {symbol}");
                tried += 1;
            }
        }
        assert!(tried > 1000, "{tried}");
    }

    proptest! {
        #[test]
        fn any_name_can_be_made_plain(name in "[a-z:<>\\[\\]{} -]{0,40}|\\PC{0,20}") {
            prop_assert!(plain(&name).len() <= name.len());
        }
    }
}
