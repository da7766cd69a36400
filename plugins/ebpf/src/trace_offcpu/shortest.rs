//! Which durations the lines can have, by the condition of the view: the programs leave out shorter waits.

use trace_hook_api::{Comparison, Condition, Literal, Operator};

use super::description::DURATION;

/// What the host adds to `--over` for events that have not ended. No event of this hook has it.
const UNFINISHED: &str = "unfinished";

/// All waits that meet the condition take longer than this, in nanoseconds.
pub fn longer_than(condition: &Condition) -> u64 {
    match condition {
        Condition::All(parts) => parts.iter().map(longer_than).max().unwrap_or(0),
        Condition::Any(parts) => parts.iter().map(longer_than).min().unwrap_or(0),
        Condition::Not(_) => 0,
        Condition::Field(Comparison { field, operator, literal, .. }) => match (operator, literal) {
            (Operator::Greater, Literal::Duration(least)) if field == DURATION => *least,
            (Operator::GreaterOrEqual, Literal::Duration(least)) if field == DURATION => {
                least.saturating_sub(1)
            }
            (Operator::Present, _) if field == UNFINISHED => u64::MAX,
            _ => 0,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, operator: Operator, literal: Literal) -> Condition {
        Condition::Field(Comparison::new(name, operator, literal))
    }

    fn over(least: u64) -> Condition {
        let unfinished = field(UNFINISHED, Operator::Present, Literal::Number(0));
        Condition::Any(vec![field(DURATION, Operator::Greater, Literal::Duration(least)), unfinished])
    }

    #[test]
    fn only_a_limit_that_all_lines_meet_counts() {
        let named = || field("comm", Operator::Equal, Literal::Text("a".to_owned()));
        assert_eq!(longer_than(&over(7)), 7);
        assert_eq!(longer_than(&Condition::All(vec![named(), over(7)])), 7);
        assert_eq!(longer_than(&Condition::Any(vec![named(), over(7)])), 0);
        assert_eq!(longer_than(&Condition::Not(Box::new(over(7)))), 0);
        assert_eq!(longer_than(&field(DURATION, Operator::GreaterOrEqual, Literal::Duration(7))), 6);
        assert_eq!(longer_than(&field(DURATION, Operator::Less, Literal::Duration(7))), 0);
    }
}
