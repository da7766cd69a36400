//! The arguments and the result to record: `open(path: string, flags: x32) -> i32`.

use trace_hook_api::{HookError, Result};

use super::function_selector::{FunctionPattern, last_group};
use super::quoted::quoted;
use super::value::ValueType;

/// A value of `--args`.
#[derive(Debug)]
pub struct Prototype {
    /// As the user wrote it.
    pub text: String,
    /// `None`: all functions.
    pub function: Option<FunctionPattern>,
    pub arguments: Vec<Argument>,
    pub result: Option<ValueType>,
}

/// An argument to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub value: ValueType,
    pub source: Source,
}

/// Where an argument comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is the argument with this number, from 0 on.
    Number(usize),
    /// It is fetched in this way (Documentation/trace/uprobetracer.rst).
    Fetch(String),
}

/// The kernel records 128 (`MAX_TRACE_ARGS` in kernel/trace/trace_probe.h), of which two are the hook's.
const MAX_FIELDS: usize = 126;

/// The form of a prototype, for messages.
pub const FORM: &str = "FUNCTION(NAME: TYPE, ...) -> TYPE";

impl Prototype {
    /// # Errors
    ///
    /// The text is malformed: the message says what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: String| {
            HookError::usage(format!("{} is not of the form {FORM}: {problem}", quoted(text)))
        };
        let (call, result) = match text.rsplit_once("->").filter(|(_, after)| !after.contains(')')) {
            Some((call, result)) => (call.trim(), Some(ValueType::parse(result.trim()).map_err(wrong)?)),
            None => (text.trim(), None),
        };
        let (function, arguments) = match call.strip_suffix(')') {
            Some(inner) => {
                let open = last_group(call).ok_or_else(|| wrong("a '(' is missing".to_owned()))?;
                (call[..open].trim(), arguments(&inner[open + 1..]).map_err(wrong)?)
            }
            None if result.is_some() => (call, Vec::new()),
            None => return Err(wrong("its arguments in parentheses are missing".to_owned())),
        };
        let function = (!function.is_empty()).then(|| FunctionPattern::new(function)).transpose()?;
        Ok(Self { text: text.to_owned(), function, arguments, result })
    }

    /// Whether it applies to the function with these names.
    pub fn matches(&self, names: &[String]) -> bool {
        self.function.as_ref().is_none_or(|function| names.iter().any(|name| function.matches(name)))
    }
}

fn arguments(text: &str) -> Result<Vec<Argument>, String> {
    let mut arguments: Vec<Argument> = Vec::new();
    let (mut number, mut field_count) = (0, 0);
    for part in text.split(',').map(str::trim) {
        let (declaration, fetch) = match part.split_once('=') {
            Some((declaration, fetch)) => (declaration.trim(), Some(fetch.trim())),
            None => (part, None),
        };
        let source = match fetch {
            Some(fetch) => Source::Fetch(checked_fetch(fetch)?),
            None => {
                number += 1;
                Source::Number(number - 1)
            }
        };
        // No arguments, or one to skip.
        if matches!(part, "" | "_") {
            continue;
        }
        let (name, value) = match (declaration.split_once(':'), &source) {
            (Some((name, value)), _) => (checked_name(name.trim())?, value),
            (None, Source::Number(_)) => (format!("arg{number}"), declaration),
            (None, Source::Fetch(_)) => return Err(format!("'{part}' needs a name: NAME: TYPE = FETCH")),
        };
        let value = ValueType::parse(value.trim())?;
        field_count += value.field_count();
        if field_count > MAX_FIELDS {
            return Err(format!("more than {MAX_FIELDS} values, pointers included, cannot be recorded"));
        }
        if arguments.iter().any(|other| other.name == name) {
            return Err(format!("there are two arguments '{name}'"));
        }
        arguments.push(Argument { name, value, source });
    }
    Ok(arguments)
}

fn checked_name(name: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    match name.starts_with(is_letter)
        && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
    {
        true => Ok(name.to_owned()),
        false => Err(format!("{} is not a name: names have letters, digits and '_'", quoted(name))),
    }
}

/// A fetch argument that cannot be mistaken for a further argument or probe.
fn checked_fetch(fetch: &str) -> Result<String, String> {
    match !fetch.is_empty() && fetch.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        true => Ok(fetch.to_owned()),
        false => Err(format!("{} cannot be fetched: write FETCH as in '+8(%di)'", quoted(fetch))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let prototype = Prototype::parse(text).unwrap();
        let argument = |argument: &Argument| match &argument.source {
            Source::Number(number) => format!("{number} {}", argument.name),
            Source::Fetch(fetch) => format!("{fetch} {}", argument.name),
        };
        prototype.arguments.iter().map(argument).collect()
    }

    #[test]
    fn arguments_have_the_numbers_of_the_parameters() {
        assert_eq!(shown("open(path: string, flags: x32)"), ["0 path", "1 flags"]);
        assert_eq!(shown("write(_, _, count: u64)"), ["2 count"]);
        assert_eq!(shown("f(u8, string)"), ["0 arg1", "1 arg2"]);
        assert_eq!(shown("f(a:u8,inner:u32=+8(%di),b:u8)"), ["0 a", "+8(%di) inner", "1 b"]);
        assert!(shown("f()").is_empty() && shown("f -> i32").is_empty() && shown("f()->i32").is_empty());
    }

    #[test]
    fn functions_can_have_any_name() {
        let function = |text: &str| Prototype::parse(text).unwrap().function.map(|function| function.text);
        assert_eq!(function("main.(*Server).Handle(u64)").as_deref(), Some("main.(*Server).Handle"));
        assert_eq!(function("ns::f(int)(u64) -> i32").as_deref(), Some("ns::f(int)"));
        assert_eq!(function("operator->(u64)").as_deref(), Some("operator->"));
        assert_eq!(function("(u64)"), None);
    }

    #[test]
    fn errors_name_the_problem() {
        let problem = |text: &str| Prototype::parse(text).unwrap_err().message().to_owned();
        assert!(problem("open").contains("parentheses are missing"));
        assert!(problem("open)").contains("'('"));
        assert!(problem("open(path: sting)").contains("did you mean 'string'"));
        assert!(problem("open(a b: u8)").contains("'a b' is not a name"));
        assert!(problem("open(a: u8, a: u8)").contains("two arguments 'a'"));
        assert!(problem("open(a: u8 = )").contains("cannot be fetched"));
        assert!(problem("open(a: u8 = %di x=%si)").contains("cannot be fetched"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in ".{0,40}") {
            let _ = Prototype::parse(&text);
        }

        #[test]
        fn a_fetch_argument_adds_nothing_to_a_definition(text in "f\\(a:u8=[ -~\\n]{0,20}\\)") {
            if let Ok(prototype) = Prototype::parse(&text) {
                for argument in prototype.arguments {
                    let Source::Fetch(fetch) = argument.source else { continue };
                    prop_assert!(!fetch.contains(char::is_whitespace) && !fetch.contains(';'));
                }
            }
        }
    }
}
