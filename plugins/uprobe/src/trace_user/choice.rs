//! Which functions a user means: `[BINARY:]FUNCTION`.

use std::borrow::Cow;
use std::path::Path;

use glob::Pattern as Glob;
use trace_hook_api::{HookError, Result};
use trace_symbols::{demangle, demangle_without_types};

use super::LONGEST_NAME;
use super::quoted::quoted;

/// Functions, and where to look for them.
#[derive(Debug)]
pub struct Choice {
    /// As it was given.
    pub text: String,
    /// Nothing: in the programs themselves, and if they have none, in their libraries.
    pub binary: Option<BinaryPattern>,
    pub function: FunctionPattern,
}

impl Choice {
    /// # Errors
    ///
    /// It names no function.
    pub fn parse(text: &str) -> Result<Self> {
        let (binary, function) = match lone_colon(text) {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        if function.is_empty() || binary == Some("") {
            return Err(HookError::usage(format!(
                "{} names no function: give FUNCTION or BINARY:FUNCTION, such as 'main' or 'libc.so.6:open*'",
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

/// The first colon that is none of the pairs in `std::vec::Vec`.
fn lone_colon(text: &str) -> Option<usize> {
    let is_colon = |at: usize| text.as_bytes().get(at) == Some(&b':');
    (0..text.len()).find(|&at| is_colon(at) && !is_colon(at + 1) && !(at > 0 && is_colon(at - 1)))
}

/// A file name (`libc.so.6`, `libssl*`), or a path in the file system of a traced process.
#[derive(Debug)]
pub struct BinaryPattern {
    text: String,
    glob: Glob,
}

impl BinaryPattern {
    fn new(text: &str) -> Result<Self> {
        Ok(Self { text: text.to_owned(), glob: glob(text)? })
    }

    /// Whether it means the file at this path.
    pub fn matches(&self, path: &Path) -> bool {
        // Whoever types it cannot type what is no UTF-8, but can put a `?` for it.
        let path = path.to_string_lossy();
        let name = path.rsplit('/').next().unwrap_or_default();
        let meant = if self.text.contains('/') { &*path } else { name };
        meant == self.text || self.glob.matches(meant)
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The one path that it means, if it is one.
    pub fn path(&self) -> Option<&Path> {
        (self.text.starts_with('/') && !has_wildcard(&self.text)).then_some(Path::new(&self.text))
    }
}

/// The name of a function as the source or the linker has it; `*` and `?` stand for others.
#[derive(Debug)]
pub struct FunctionPattern {
    pub text: String,
    glob: Option<Glob>,
    /// A part of the name that an encoded name must have as well.
    fragment: Option<String>,
}

/// Words of the source, or of those who decode names, that no encoded name has.
const UNENCODED: [&str; 88] = [
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
    /// It is no pattern.
    pub fn new(text: &str) -> Result<Self> {
        let glob = has_wildcard(text).then(|| glob(text)).transpose()?;
        Ok(Self { text: text.to_owned(), glob, fragment: fragment(text) })
    }

    /// Whether it means the function of this symbol. C++ functions are also meant without their parameters.
    pub fn matches(&self, symbol: &str) -> bool {
        self.fits(symbol) || (self.may_fit_decoded(symbol) && self.fits_decoded(symbol))
    }

    /// To decode the names of a large program takes more than a second.
    fn may_fit_decoded(&self, symbol: &str) -> bool {
        self.fragment.as_ref().is_none_or(|fragment| symbol.contains(fragment.as_str()))
    }

    fn fits_decoded(&self, symbol: &str) -> bool {
        demangle(symbol, LONGEST_NAME)
            .is_some_and(|name| self.fits(&name) || self.fits(&without_parameters(&name)))
            || demangle_without_types(symbol, LONGEST_NAME).is_some_and(|name| self.fits(&name))
    }

    fn fits(&self, name: &str) -> bool {
        name == self.text || self.glob.as_ref().is_some_and(|glob| glob.matches(name))
    }
}

/// The longest identifier, or part of one, that is encoded as it is.
fn fragment(pattern: &str) -> Option<String> {
    let words = pattern.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_encoded = |word: &&str| {
        word.len() > 2
            && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !UNENCODED.contains(word)
    };
    let is_plain = pattern.is_ascii();
    words.filter(|_| is_plain).filter(is_encoded).max_by_key(|word| word.len()).map(str::to_owned)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Brackets stand for themselves: they are part of the names of operators and generic types.
fn glob(text: &str) -> Result<Glob> {
    let mut escaped = text.replace('[', "[[]");
    while escaped.contains("**") {
        escaped = escaped.replace("**", "*");
    }
    Glob::new(&escaped)
        .map_err(|error| HookError::usage(format!("{} is no pattern: {}", quoted(text), error.msg)))
}

/// `ns::f(int)` without `(int)`.
fn without_parameters(name: &str) -> Cow<'_, str> {
    match name.strip_suffix(')').and_then(|_| last_group(name)) {
        Some(open) => Cow::Borrowed(&name[..open]),
        None => Cow::Borrowed(name),
    }
}

/// Where the parenthesis opens that the last one closes.
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
    fn the_binary_comes_before_a_lone_colon() {
        let parts = |text: &str| {
            let choice = Choice::parse(text).unwrap();
            (choice.binary.map(|binary| binary.text), choice.function.text)
        };
        let of = |binary: &str, function: &str| (Some(binary.to_owned()), function.to_owned());
        assert_eq!(parts("main"), (None, "main".to_owned()));
        assert_eq!(parts("std::vec::Vec"), (None, "std::vec::Vec".to_owned()));
        assert_eq!(parts("libc.so.6:open*"), of("libc.so.6", "open*"));
        assert_eq!(parts("/usr/bin/x:ns::f"), of("/usr/bin/x", "ns::f"));
        for none in ["", ":", "libc:", ":open"] {
            assert!(Choice::parse(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn a_binary_is_meant_by_its_name_or_its_path() {
        let matches =
            |pattern: &str, path: &str| BinaryPattern::new(pattern).unwrap().matches(Path::new(path));
        assert!(matches("libc.so.6", "/usr/lib/libc.so.6"));
        assert!(matches("libc*", "/usr/lib/libc.so.6"));
        assert!(!matches("libc", "/usr/lib/libc.so.6"));
        assert!(matches("/usr/*/libc.so.6", "/usr/lib/libc.so.6"));
        assert!(!matches("/lib/libc.so.6", "/usr/lib/libc.so.6"));
    }

    #[test]
    fn a_function_is_meant_by_any_of_its_names() {
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
