//! Checks that the texts of a hook can be displayed to users.

use trace_hook_api::{Example, HookInfo, Kind, Param, is_plain};

use crate::arguments::{self, HookArguments};
use crate::worker::protocol::Finding;

/// In bytes; a longer text does not fit on a screen.
const LONGEST_SENTENCE: usize = 300;

/// Checks that the hook and each of its parameters have a help text, and that its examples are valid.
pub fn check(hook: &HookInfo) -> Finding {
    let summary = check_sentence(&hook.summary).map_err(|problem| format!("its summary {problem}"));
    let params = || hook.params.iter().try_for_each(check_param);
    let examples = || hook.examples.iter().try_for_each(|example| check_example(hook, example));
    match summary.and_then(|()| params()).and_then(|()| examples()) {
        Ok(()) => Finding::Ok("the hook and each of its parameters are described".to_owned()),
        Err(problem) => Finding::Failed(problem),
    }
}

fn check_param(param: &Param) -> Result<(), String> {
    check_sentence(&param.help).map_err(|problem| format!("the help of --{} {problem}", param.name))?;
    match param.kind {
        Kind::Flag => Ok(()),
        _ => check_sentence(&param.value_name)
            .map_err(|problem| format!("the name of the value of --{} {problem}", param.name)),
    }
}

/// Checks that the host accepts the arguments, after those that a caller adds.
fn check_example(hook: &HookInfo, example: &Example) -> Result<(), String> {
    let Example { arguments, meaning, .. } = example;
    check_sentence(meaning).map_err(|problem| format!("the meaning of the example {arguments} {problem}"))?;
    let words = HookArguments::from_words(vec![format!("--pid 1 {arguments}").into()]);
    match words.and_then(|words| arguments::parse(hook, &words)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its example {arguments} is invalid: {error}")),
    }
}

/// Checks that a text can be printed on a line, after a prefix.
pub fn check_sentence(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("is empty".to_owned())
    } else if text.trim() != text {
        Err(format!("begins or ends with a blank: {text:?}"))
    } else if !text.chars().all(is_plain) {
        Err(format!("is not one line of plain text: {text:?}"))
    } else if text.len() > LONGEST_SENTENCE {
        Err(format!("is too long for a line: {} bytes; at most {LONGEST_SENTENCE}", text.len()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_one_line() {
        assert_eq!(check_sentence("there is no tracefs (mount it)"), Ok(()));
        for text in ["", " ", "a\n", "a\nb", " a", "\u{202e}a", &"a".repeat(301)] {
            assert!(check_sentence(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn missing_help_texts_are_found() {
        let hook = || HookInfo::new("h", "a hook");
        let failed = |hook: &HookInfo| matches!(check(hook), Finding::Failed(_));
        assert!(!failed(&hook().param(Param::flag("f", "a flag")).param(Param::text("t", "T", "a text"))));
        assert!(failed(&HookInfo::new("h", "")));
        assert!(!failed(&hook().param(Param::flag("f", "a flag")).example("--f", "with it")));
        for (example, meaning) in
            [("--g", "unknown"), ("--f 1", "no value"), ("--f '", "a quote"), ("--f", "")]
        {
            assert!(failed(&hook().param(Param::flag("f", "a flag")).example(example, meaning)), "{example}");
        }
        assert!(failed(&hook().param(Param::flag("f", ""))));
        assert!(failed(&hook().param(Param::text("t", "", "a text"))));
    }
}
