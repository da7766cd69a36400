//! The functions that the user selects: `[BINARY:]FUNCTION`.

use std::path::Path;

use glob::Pattern as Glob;
use trace_hook_api::{HookError, Result};
use trace_symbols::{display_name, is_mangled, spelling, spellings};

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
        let (binary, function) = match colon_after_binary(text) {
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

/// The last colon that is not part of a `::`, or of a name that compilers make. File names can have colons, too.
fn colon_after_binary(text: &str) -> Option<usize> {
    // Functions of Go that compare and hash types.
    let of_go = text.rfind("type:.").map(|at| at + "type".len());
    let is_colon = |at: usize| text.as_bytes().get(at) == Some(&b':');
    let mut depth = 0_usize;
    (0..text.len()).rev().find(|&at| {
        // A colon can be in brackets, as in `f[abi:cxx11]` and `f{shim:vtable#0}`.
        match text.as_bytes()[at] {
            b')' | b']' | b'}' => depth += 1,
            b'(' | b'[' | b'{' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_double = is_colon(at + 1) || (at > 0 && is_colon(at - 1));
        depth == 0 && is_colon(at) && !is_double && Some(at) != of_go
    })
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
    /// The text as it is compared.
    spelling: String,
    /// What a name begins with that was shown cut.
    beginning: Option<String>,
    /// How many characters of names are shown: as many as the text has, if it was shown cut.
    shown_length: usize,
    glob: Option<Glob>,
    /// A part of the name that the mangled name contains as well.
    fragment: Option<String>,
}

/// How a name matches. Of the functions of a file, the closest count: in `f(int*)`, `*` is a wildcard only if no function has that
/// name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closeness {
    /// By wildcards, or by its beginning.
    Similar,
    /// A shorter spelling is the same.
    Shorter,
    /// The symbol, or the name that is shown, is the same.
    Exact,
}

/// Types of Rust that can have methods, and are abbreviated in mangled names.
const RUST_TYPES: [&str; 15] = [
    "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "isize", "str", "u128", "u16", "u32", "u64",
    "usize",
];

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
        let spelling = spelling(text).into_owned();
        let glob = has_wildcard(text).then(|| glob(&spelling)).transpose()?;
        let beginning = spelling.strip_suffix('…').map(str::to_owned);
        let shown_length = text.strip_suffix('…').map_or(MAX_NAME, |cut| cut.chars().count());
        Ok(Self { text: text.to_owned(), spelling, beginning, shown_length, glob, fragment: fragment(text) })
    }

    /// Whether the function of this symbol matches by any of its names.
    pub fn matches(&self, symbol: &str) -> bool {
        self.closeness(symbol).is_some()
    }

    /// How close the function of this symbol matches by any of its names, if it does.
    pub fn closeness(&self, symbol: &str) -> Option<Closeness> {
        let is_candidate = self.may_match_demangled(symbol);
        if self.is(symbol) || is_candidate && self.is(&display_name(symbol, self.shown_length)) {
            return Some(Closeness::Exact);
        }
        let names =
            if is_candidate { spellings(symbol, MAX_NAME) } else { vec![spelling(symbol).into_owned()] };
        names.iter().filter_map(|name| self.closeness_of_name(name)).max()
    }

    fn closeness_of_name(&self, spelling: &str) -> Option<Closeness> {
        let is_shorter = spelling == self.spelling;
        let closeness = if is_shorter { Closeness::Shorter } else { Closeness::Similar };
        (is_shorter || self.is_similar(spelling)).then_some(closeness)
    }

    /// Whether this is the symbol, or the name that is shown.
    pub fn is(&self, name: &str) -> bool {
        spelling(name) == self.spelling
    }

    /// A quick check: demangling all names of a large program takes more than a second.
    fn may_match_demangled(&self, symbol: &str) -> bool {
        is_mangled(symbol) && self.fragment.as_ref().is_none_or(|fragment| symbol.contains(fragment.as_str()))
    }

    fn is_similar(&self, spelling: &str) -> bool {
        self.glob.as_ref().is_some_and(|glob| glob.matches(spelling))
            || self.beginning.as_ref().is_some_and(|beginning| spelling.starts_with(beginning))
    }
}

/// The longest identifier, or part of one, that mangling leaves as it is. It is looked for in the path of the function: types, literals
/// and operators have words that mangled names abbreviate.
fn fragment(pattern: &str) -> Option<String> {
    // The last word of a name that was shown cut may be a part of a word.
    let is_cut = pattern.ends_with('…');
    let pattern = pattern.trim_end_matches(|letter: char| is_cut && letter != ':');
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
            && !RUST_TYPES.contains(word)
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
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::ops::ControlFlow;

    use trace_symbols::{ElfFile, FunctionKind, MemoryBudget, display_name};

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
        assert_eq!(parts("/a:b/x::y:z:ns::f"), of("/a:b/x::y:z", "ns::f"));
        assert_eq!(parts("x:A::operator()(int) const"), of("x", "A::operator()(int) const"));
        assert_eq!(parts("f[abi:cxx11]"), (None, "f[abi:cxx11]".to_owned()));
        assert_eq!(parts("x:f[abi:cxx11]"), of("x", "f[abi:cxx11]"));
        assert_eq!(parts("core::f{shim:vtable#0}"), (None, "core::f{shim:vtable#0}".to_owned()));
        assert_eq!(parts("type:.eq.main.T"), (None, "type:.eq.main.T".to_owned()));
        assert_eq!(parts("x:type:.eq.main.T"), of("x", "type:.eq.main.T"));
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
        assert!(matches("ns::f<true>", "_ZN2ns1fILb1EEEiv") && matches("ns::f", "_ZN2ns1fILb1EEEiv"));
        assert!(!matches("ns::f<false>", "_ZN2ns1fILb1EEEiv"));
        assert!(matches("ns::g(int volatile*)", "_ZN2ns1gEPVi"));
        assert!(matches("app::get", "_ZN3app3getB5cxx11Ei"));
        assert!(
            matches("app::W::name", "_ZNK3app1W4nameB5cxx11Ei")
                && matches("app::W::name[abi:cxx11]", "_ZNK3app1W4nameB5cxx11Ei")
        );
        assert!(matches("rs::app::G::get", "_RNvMs0_NtCsbFYJioi4cCO_2rs3appINtB5_1GmE3getB7_"));
        assert!(matches("rs::app::T::act", "_RNvXs_NtCsbFYJioi4cCO_2rs3appNtB4_1TNtB4_2Tr3act"));
        assert!(matches("rs::app::gen", "_RINvNtCsbFYJioi4cCO_2rs3app3genmEB4_"));
        assert!(matches("<u32>::ok", "_RNvMCs1_1am2ok") && matches("u32::ok", "_RNvMCs1_1am2ok"));
        assert!(matches("rs::app::T::method", "_RNvMNtCs1_2rs3appNtB2_1T6method"));
        assert!(matches("ns::g(int vol…", "_ZN2ns1gEPVi") && !matches("ns::h…", "_ZN2ns1gEPVi"));
    }

    #[test]
    fn the_name_that_is_shown_is_closer_than_others() {
        let closeness =
            |pattern: &str, symbol: &str| FunctionPattern::new(pattern).unwrap().closeness(symbol);
        let (pointer, with_number) = ("_ZN2ns1gEPVi", "_ZN2ns1gEPVil");
        assert_eq!(closeness("ns::g(int volatile*)", pointer), Some(Closeness::Exact));
        assert_eq!(closeness("ns::g(int volatile*)", with_number), Some(Closeness::Similar));
        assert_eq!(closeness("ns::g", pointer), Some(Closeness::Shorter));
        assert_eq!(closeness("ns::g(int vol…", pointer), Some(Closeness::Exact));
        assert_eq!(closeness(pointer, pointer), Some(Closeness::Exact));
        assert_eq!(closeness("ns::h", pointer), None);
    }

    /// The symbols of functions in the programs and libraries of this machine: each of which the number is a multiple of `step`.
    fn symbols_of_libraries(step: usize) -> BTreeSet<String> {
        let (mut symbols, mut number) = (BTreeSet::new(), 0);
        let directories =
            ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/bin"];
        let directories = directories.into_iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten();
        let files = directories.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
        for file in files.chain([std::env::current_exe().unwrap()]) {
            let Ok(file) = File::open(file) else { continue };
            let Ok(elf) = ElfFile::parse(&file, &MemoryBudget::new(1 << 30)) else { continue };
            let _ = elf.visit_functions(|function| {
                number += 1;
                if number % step == 0 && function.kind != FunctionKind::Imported {
                    symbols.insert(String::from_utf8_lossy(function.name).into_owned());
                }
                ControlFlow::Continue(())
            });
        }
        symbols
    }

    /// Checks that each name that is shown selects its function, also if it is cut as in stacks, and with its parameters no other.
    fn assert_that_shown_names_select(symbols: &BTreeSet<String>) {
        assert!(symbols.len() > 1000, "{}", symbols.len());
        let matches = |name: &str, symbol: &str| FunctionPattern::new(name).unwrap().matches(symbol);
        let shown = |symbol: &String| display_name(symbol, MAX_NAME);
        let mut wrong = Vec::new();
        for symbol in symbols {
            let (name, cut) = (shown(symbol), display_name(symbol, 512));
            let closeness = |name: &str| FunctionSelector::parse(name).unwrap().function.closeness(symbol);
            let expected = Some(Closeness::Exact);
            if closeness(&name) != expected || closeness(&cut) != expected {
                wrong.push(format!("{symbol} is not found as {name}"));
            }
        }
        for (symbol, other) in symbols.iter().zip(symbols.iter().skip(1)) {
            let name = shown(symbol);
            let is_exact = name.contains('(') && !name.contains(['*', '?', '…']);
            if is_exact && spelling(&name) != spelling(&shown(other)) && matches(&name, other) {
                wrong.push(format!("{other} is found as {name}, which is {symbol}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}: {:#?}",
            wrong.len(),
            symbols.len(),
            &wrong[..wrong.len().min(50)]
        );
    }

    #[test]
    fn a_name_that_is_shown_selects_its_function() {
        assert_that_shown_names_select(&symbols_of_libraries(701));
    }

    /// The same with all symbols.
    #[test]
    #[ignore = "takes minutes"]
    fn each_name_that_is_shown_selects_its_function() {
        assert_that_shown_names_select(&symbols_of_libraries(1));
    }
}
