//! A usage error as one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::Error;
use crate::output;

/// The message of clap as one line, without the usage that it appends.
pub fn usage(error: &clap::Error) -> Error {
    let text = error.to_string();
    let message = text.split("\n\nUsage:").next().unwrap_or(&text);
    let message = message.split("\n\nFor more information").next().unwrap_or(message);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let words: Vec<&str> = message.split_whitespace().collect();
    let hint = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option))
            if error.kind() == ErrorKind::InvalidValue
                && option.starts_with("--pid ")
                && words.last() == Some(&"supplied") =>
        {
            "; if it comes from pgrep or pidof, there is no such process"
        }
        _ => "",
    };
    Error::Usage(output::one_line(&format!("{}{hint}", words.join(" ").replace(" tip: ", "; "))))
}
