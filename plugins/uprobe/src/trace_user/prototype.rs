//! What to record of a call and its return: `open(path: string, flags: x32) -> i32`.

use trace_hook_api::{HookError, Result};

use super::choice::{FunctionPattern, last_group};
use super::quoted::quoted;
use super::value::ValueType;

/// What a user wants to see of a function.
#[derive(Debug)]
pub struct Prototype {
    /// As it was given.
    pub text: String,
    /// Nothing: all functions.
    pub function: Option<FunctionPattern>,
    pub arguments: Vec<Argument>,
    pub result: Option<ValueType>,
}

/// An argument that a user wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub value: ValueType,
    pub source: Source,
}

/// Where an argument comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The argument with this number, from 0 on.
    Number(usize),
    /// The kernel's own words for it (Documentation/trace/uprobetracer.rst).
    Fetch(String),
}

/// The kernel records 128 (`MAX_TRACE_ARGS` in its kernel/trace/trace_probe.h), and two are ours.
const MOST_FIELDS: usize = 126;

/// What the help says of it.
pub const FORM: &str = "FUNCTION(NAME: TYPE, ...) -> TYPE";

impl Prototype {
    /// # Errors
    ///
    /// It is none; the message says what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: String| HookError::usage(format!("{} is no {FORM}: {problem}", quoted(text)));
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

    /// Whether it is about the function with any of these names.
    pub fn is_about(&self, names: &[String]) -> bool {
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
        // No arguments, or one to be passed over.
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
        if field_count > MOST_FIELDS {
            return Err(format!("it has more than {MOST_FIELDS} arguments, with the pointers to them"));
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
        false => Err(format!("{} is no name: it is made of letters, digits and '_'", quoted(name))),
    }
}

/// Anything that cannot be mistaken for another argument, or another probe.
fn checked_fetch(fetch: &str) -> Result<String, String> {
    match !fetch.is_empty() && fetch.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        true => Ok(fetch.to_owned()),
        false => Err(format!("{} cannot be fetched: it is to be as in '+8(%di)'", quoted(fetch))),
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
    fn arguments_are_counted_as_the_function_does() {
        assert_eq!(shown("open(path: string, flags: x32)"), ["0 path", "1 flags"]);
        assert_eq!(shown("write(_, _, count: u64)"), ["2 count"]);
        assert_eq!(shown("f(u8, string)"), ["0 arg1", "1 arg2"]);
        assert_eq!(shown("f(a:u8,inner:u32=+8(%di),b:u8)"), ["0 a", "+8(%di) inner", "1 b"]);
        assert!(shown("f()").is_empty() && shown("f -> i32").is_empty() && shown("f()->i32").is_empty());
    }

    #[test]
    fn any_name_of_a_function_will_do() {
        let function = |text: &str| Prototype::parse(text).unwrap().function.map(|function| function.text);
        assert_eq!(function("main.(*Server).Handle(u64)").as_deref(), Some("main.(*Server).Handle"));
        assert_eq!(function("ns::f(int)(u64) -> i32").as_deref(), Some("ns::f(int)"));
        assert_eq!(function("operator->(u64)").as_deref(), Some("operator->"));
        assert_eq!(function("(u64)"), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem = |text: &str| Prototype::parse(text).unwrap_err().message().to_owned();
        assert!(problem("open").contains("parentheses are missing"));
        assert!(problem("open)").contains("'('"));
        assert!(problem("open(path: sting)").contains("did you mean 'string'"));
        assert!(problem("open(a b: u8)").contains("'a b' is no name"));
        assert!(problem("open(a: u8, a: u8)").contains("two arguments 'a'"));
        assert!(problem("open(a: u8 = )").contains("cannot be fetched"));
        assert!(problem("open(a: u8 = %di x=%si)").contains("cannot be fetched"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            let _ = Prototype::parse(&text);
        }

        #[test]
        fn nothing_can_be_added_to_a_definition(text in "f\\(a:u8=[ -~\\n]{0,20}\\)") {
            if let Ok(prototype) = Prototype::parse(&text) {
                for argument in prototype.arguments {
                    let Source::Fetch(fetch) = argument.source else { continue };
                    prop_assert!(!fetch.contains(char::is_whitespace) && !fetch.contains(';'));
                }
            }
        }
    }
}
