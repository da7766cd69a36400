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

/// Words of the source or of demanglers that are not in mangled names.
const UNMANGLED: [&str; 88] = [
    "VTT",
    "abi",
    "alignof",
    "allocator",
    "anonymous",
    "auto",
    "basic_iostream",
    "basic_istream",
    "basic_ostream",
    "basic_string",
    "bool",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "char_traits",
    "clone",
    "closure",
    "co_await",
    "complex",
    "const",
    "construction",
    "covariant",
    "decimal",
    "decltype",
    "delete",
    "double",
    "dyn",
    "extern",
    "f32",
    "f64",
    "float",
    "for",
    "function",
    "guard",
    "half",
    "i128",
    "i16",
    "i32",
    "i64",
    "imaginary",
    "impl",
    "init",
    "initializer",
    "int",
    "iostream",
    "isize",
    "istream",
    "lambda",
    "long",
    "mut",
    "name",
    "namespace",
    "new",
    "noexcept",
    "non",
    "nullptr_t",
    "object",
    "operator",
    "ostream",
    "parameter",
    "reference",
    "return",
    "shim",
    "short",
    "signed",
    "sizeof",
    "std",
    "str",
    "string",
    "template",
    "temporary",
    "this",
    "throw",
    "thunk",
    "type",
    "typeid",
    "typeinfo",
    "u128",
    "unnamed",
    "unsafe",
    "unsigned",
    "usize",
    "virtual",
    "void",
    "vtable",
    "wchar_t",
    "wrapper",
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
        demangle(symbol, MAX_NAME)
            .is_some_and(|name| self.matches_name(&name) || self.matches_name(&without_parameters(&name)))
            || demangle_without_types(symbol, MAX_NAME).is_some_and(|name| self.matches_name(&name))
    }

    fn matches_name(&self, name: &str) -> bool {
        name == self.text || self.glob.as_ref().is_some_and(|glob| glob.matches(name))
    }
}

/// The longest identifier, or part of one, that mangling leaves as it is.
fn fragment(pattern: &str) -> Option<String> {
    let words = pattern.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_kept = |word: &&str| {
        word.len() > 2
            && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !UNMANGLED.contains(word)
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
    }
}
