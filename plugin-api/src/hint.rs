//! Suggestions for misspelt names.

/// The least Jaro similarity of a suggestion.
const ALIKE: f64 = 0.75;

/// Returns `; did you mean 'this' or 'that'?`, or an empty text if no known name is similar.
///
/// ```
/// let hint = trace_hook_api::did_you_mean("opnat", &["open", "openat", "close"]);
/// assert_eq!(hint, "; did you mean 'openat' or 'open'?");
/// ```
pub fn did_you_mean<T: AsRef<str>>(name: &str, known: &[T]) -> String {
    let length = name.chars().count();
    let known =
        known.iter().map(AsRef::as_ref).filter(|other: &&str| may_be_alike(length, other.chars().count()));
    let with_likeness = known.map(|other| (strsim::jaro(name, other), other));
    let mut nearest: Vec<(f64, &str)> = with_likeness.filter(|(likeness, _)| *likeness >= ALIKE).collect();
    nearest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    nearest.dedup();
    let nearest: Vec<String> = nearest.iter().take(3).map(|(_, name)| format!("'{name}'")).collect();
    match nearest.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", nearest.join(" or ")),
    }
}

/// Returns whether names of these lengths can be similar at all. Comparing a very long name with many others takes minutes.
fn may_be_alike(one: usize, other: usize) -> bool {
    // If the longer name contains every letter of the shorter one, the Jaro similarity is 2/3 plus a third of the ratio of lengths.
    one.min(other) as f64 >= one.max(other) as f64 * (3.0 * ALIKE - 2.0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn very_long_name_is_rejected_quickly() {
        let known: Vec<String> = (0..10_000).map(|n| format!("a_function_number_{n}")).collect();
        let started = Instant::now();
        assert_eq!(did_you_mean(&"a_function_number_".repeat(6000), &known), "");
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn similar_names_pass_the_length_check(one in "[ab]{0,12}", other in "[ab]{0,12}") {
            if strsim::jaro(&one, &other) >= ALIKE {
                prop_assert!(may_be_alike(one.len(), other.len()));
            }
        }
    }
}
