//! Parses the expression of a condition, such as `error == ENOENT && duration > 1ms`.
//!
//! ```text
//! expression = term { "||" term }
//! term       = factor { "&&" factor }
//! factor     = "!" factor | "(" expression ")" | FIELD [ operator value ]
//! operator   = "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"
//! value      = TEXT | "TEXT" | NUMBER | DURATION
//! ```

use std::error::Error;
use std::fmt;

use super::condition::{Comparison, Condition, Literal, Operator};
use super::error_names::name_in_lines;
use super::fields::find_field;
use super::tokens::{Token, TokenKind, tokens};
use crate::{EventInfo, FieldKind};

/// How deep parentheses and `!` can be nested.
const DEEPEST: usize = 64;
/// How many comparisons there can be.
const MOST_COMPARISONS: usize = 256;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpressionError {
    /// What is wrong.
    pub problem: String,
    /// The byte of the expression at which it is wrong.
    pub at: usize,
}

impl Error for ExpressionError {}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

/// Parses a condition on the fields of these events.
///
/// ```
/// use trace_hook_api::{EventInfo, FieldInfo, parse_condition};
///
/// let events = [EventInfo::new("open", "").field(FieldInfo::word("error", "")).field(FieldInfo::duration("duration", ""))];
/// assert!(parse_condition(r#"error == "ENOENT" && duration > 1ms"#, &events).is_ok());
/// let error = parse_condition("duration > 1ms && eror", &events).unwrap_err();
/// assert_eq!((error.problem.as_str(), error.at), ("unknown field 'eror'; did you mean 'error'?", 18));
/// ```
///
/// # Errors
///
/// The first mistake.
pub fn parse_condition(expression: &str, events: &[EventInfo]) -> Result<Condition, ExpressionError> {
    let tokens = tokens(expression).map_err(|(problem, at)| ExpressionError { problem, at })?;
    let mut parser = Parser { tokens: &tokens, events, end: expression.len(), comparisons: 0 };
    let condition = parser.any(0)?;
    match parser.tokens.first() {
        None => Ok(condition),
        Some(token) => Err(parser.error("expected &&, || or one of ==, !=, <, <=, >, >=, ~, !~", token.at)),
    }
}

struct Parser<'a> {
    /// Those that were not taken yet.
    tokens: &'a [Token],
    events: &'a [EventInfo],
    /// The length of the expression.
    end: usize,
    comparisons: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Condition, ExpressionError> {
        let mut parts = vec![self.all(depth)?];
        while self.take(&TokenKind::Or) {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, ExpressionError> {
        let mut parts = vec![self.factor(depth)?];
        while self.take(&TokenKind::And) {
            parts.push(self.factor(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn factor(&mut self, depth: usize) -> Result<Condition, ExpressionError> {
        let at = self.at();
        if depth == DEEPEST {
            return Err(self.error("it is nested too deeply", at));
        }
        if self.take(&TokenKind::Not) {
            return Ok(Condition::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.take(&TokenKind::Open) {
            let condition = self.any(depth + 1)?;
            let end = self.at();
            return if self.take(&TokenKind::Close) {
                Ok(condition)
            } else {
                Err(self.error("expected )", end))
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, ExpressionError> {
        let at = self.at();
        let Some(Token { kind: TokenKind::Word(name), .. }) = self.tokens.first() else {
            return Err(self.error("expected the name of a field", at));
        };
        self.tokens = &self.tokens[1..];
        self.comparisons += 1;
        if self.comparisons > MOST_COMPARISONS {
            return Err(self.error("it has too many comparisons", at));
        }
        let (field, kinds) = find_field(self.events, name).map_err(|problem| self.error(&problem, at))?;
        let (operator, is_negated) = match self.tokens.first().map(|token| &token.kind) {
            Some(TokenKind::Compare(operator)) => (*operator, false),
            Some(TokenKind::NotCompare(operator)) => (*operator, true),
            _ => {
                let present = Comparison::new(field, Operator::Present, Literal::Number(0));
                return Ok(Condition::Field(present));
            }
        };
        self.tokens = &self.tokens[1..];
        let at = self.at();
        let literal = self.literal()?;
        let literal = fitting(name, &kinds, operator, literal).map_err(|problem| self.error(&problem, at))?;
        let literal = match literal {
            Literal::Text(word) if operator == Operator::Equal => {
                Literal::Text(name_in_lines(&field, word).map_err(|problem| self.error(&problem, at))?)
            }
            other => other,
        };
        let condition = Condition::Field(Comparison::new(field, operator, literal));
        Ok(if is_negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn literal(&mut self) -> Result<Literal, ExpressionError> {
        let literal = match self.tokens.first().map(|token| &token.kind) {
            Some(TokenKind::Word(word)) => Literal::Text(word.clone()),
            Some(TokenKind::Literal(literal)) => literal.clone(),
            _ => return Err(self.error("expected a value", self.at())),
        };
        self.tokens = &self.tokens[1..];
        Ok(literal)
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let is_next = self.tokens.first().is_some_and(|token| token.kind == *kind);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    /// Where the next token begins.
    fn at(&self) -> usize {
        self.tokens.first().map_or(self.end, |token| token.at)
    }

    fn error(&self, problem: &str, at: usize) -> ExpressionError {
        ExpressionError { problem: problem.to_owned(), at }
    }
}

/// The literal, if a field of one of these types can be compared with it.
fn fitting(name: &str, kinds: &[FieldKind], operator: Operator, literal: Literal) -> Result<Literal, String> {
    let is_text = |kind: &FieldKind| matches!(kind, FieldKind::Text | FieldKind::Word | FieldKind::List);
    let is_number =
        |kind: &FieldKind| matches!(kind, FieldKind::Number | FieldKind::Fraction | FieldKind::Address);
    let has = |is: &dyn Fn(&FieldKind) -> bool| kinds.iter().any(|kind| *kind == FieldKind::Any || is(kind));
    let is_duration = |kind: &FieldKind| *kind == FieldKind::Duration;
    let literal = match literal {
        // A text of digits, such as the name of a task.
        Literal::Number(number) if !has(&is_number) && has(&is_text) => Literal::Text(number.to_string()),
        other => other,
    };
    let is_pattern = operator == Operator::Matches;
    let kind = kinds.first().map_or("value", |kind| kind.name());
    match &literal {
        Literal::Text(_) if has(&is_text) => Ok(literal),
        _ if is_pattern => Err(format!("'{name}' is a {kind}; only a text matches a pattern")),
        Literal::Number(_) | Literal::Fraction(_) if has(&is_number) => Ok(literal),
        Literal::Duration(_) | Literal::Number(0) if has(&is_duration) => Ok(literal),
        Literal::Number(number) if has(&is_duration) => Err(format!(
            "'{name}' is a duration; give a unit: {number}ns, {number}us, {number}ms or {number}s"
        )),
        _ if kinds == [FieldKind::Flag] => Err(format!("'{name}' is a flag; write {name} or !{name}")),
        _ => Err(format!("'{name}' is a {kind}, which cannot be compared with this value")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FieldInfo;

    fn events() -> Vec<EventInfo> {
        vec![
            EventInfo::new("open", "")
                .field(FieldInfo::text("path", ""))
                .field(FieldInfo::number("result", ""))
                .field(FieldInfo::word("error", "").optional())
                .field(FieldInfo::duration("duration", ""))
                .field(FieldInfo::flag("preempted", ""))
                .field(FieldInfo::group("arguments", "", [FieldInfo::number("fd", "")])),
        ]
    }

    fn error(expression: &str) -> (String, usize) {
        let error = parse_condition(expression, &events()).unwrap_err();
        (error.problem, error.at)
    }

    #[test]
    fn operators_bind_as_in_c() {
        let field =
            |name: &str| Condition::Field(Comparison::new(name, Operator::Present, Literal::Number(0)));
        assert_eq!(
            parse_condition("error || !path && (result || preempted)", &events()),
            Ok(Condition::Any(vec![
                field("error"),
                Condition::All(vec![
                    Condition::Not(Box::new(field("path"))),
                    Condition::Any(vec![field("result"), field("preempted")]),
                ]),
            ]))
        );
    }

    #[test]
    fn names_and_values_are_what_users_write() {
        for (expression, field, operator, literal) in [
            ("error == ENOENT", "error", Operator::Equal, Literal::Text("ENOENT".to_owned())),
            ("error='ENOENT'", "error", Operator::Equal, Literal::Text("ENOENT".to_owned())),
            (r#"path ~ "/etc/\"*""#, "path", Operator::Matches, Literal::Text("/etc/\"*".to_owned())),
            ("path ~ /etc/*.conf", "path", Operator::Matches, Literal::Text("/etc/*.conf".to_owned())),
            ("result < -1", "result", Operator::Less, Literal::Number(-1)),
            ("duration_ns >= 1.5ms", "duration", Operator::GreaterOrEqual, Literal::Duration(1_500_000)),
            ("fd == 0x10", "arguments.fd", Operator::Equal, Literal::Number(16)),
            ("arguments.fd == 3", "arguments.fd", Operator::Equal, Literal::Number(3)),
            ("time > 12.5", "time", Operator::Greater, Literal::Fraction(12.5)),
            ("comm == 7", "comm", Operator::Equal, Literal::Text("7".to_owned())),
        ] {
            let expected = Condition::Field(Comparison::new(field, operator, literal));
            assert_eq!(parse_condition(expression, &events()), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn any_name_may_be_that_of_an_unknown_field() {
        let unknown = FieldInfo::group("fields", "", [FieldInfo::any("*", "")]);
        let events = [EventInfo::new("*", "").field(unknown)];
        for (expression, field) in
            [("mode == 3", "*.mode"), ("fields.pid == 3", "fields.pid"), ("pid == 3", "pid")]
        {
            let expected = Comparison::new(field, Operator::Equal, Literal::Number(3));
            assert_eq!(parse_condition(expression, &events), Ok(Condition::Field(expected)), "{expression}");
        }
        let text = Condition::Field(Comparison::new(
            "*.filename",
            Operator::Matches,
            Literal::Text("*x".to_owned()),
        ));
        assert_eq!(parse_condition("filename ~ *x", &events), Ok(text));
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        for (expression, problem, at) in [
            ("", "expected the name of a field", 0),
            ("error ==", "expected a value", 8),
            ("error == \"ENOENT", "\" is not closed", 9),
            ("(error", "expected )", 6),
            ("error result", "expected &&, || or one of ==", 6),
            ("error && ", "expected the name of a field", 9),
            ("eror", "did you mean 'error'?", 0),
            ("error == x && duration > 5", "give a unit: 5ns", 25),
            ("result == many", "'result' is a number", 10),
            ("result ~ 1", "only a text matches a pattern", 9),
            ("preempted == true", "write preempted or !preempted", 13),
            ("duration > 1parsec", "unknown unit", 11),
            ("error # x", "unexpected '#'", 6),
        ] {
            let (found, found_at) = error(expression);
            assert!(found.contains(problem), "{expression}: {found}");
            assert_eq!(found_at, at, "{expression}: {found}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(expression in "[a-z!&|()<>=~\"' 0-9.é-]{0,40}") {
            if let Err(error) = parse_condition(&expression, &events()) {
                prop_assert!(error.at <= expression.len());
                prop_assert!(expression.is_char_boundary(error.at));
            }
        }
    }
}
