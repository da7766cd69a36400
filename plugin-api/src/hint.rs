//! What a user may have meant.

/// How alike two names must be to suggest one for the other, from 0 to 1.
const ALIKE: f64 = 0.75;

/// `; did you mean 'this' or 'that'?`, or nothing where no name is like it.
///
/// ```
/// let hint = trace_hook_api::did_you_mean("opnat", &["open", "openat", "close"]);
/// assert_eq!(hint, "; did you mean 'openat' or 'open'?");
/// ```
pub fn did_you_mean<T: AsRef<str>>(name: &str, known: &[T]) -> String {
    let with_likeness = known.iter().map(|other| (strsim::jaro(name, other.as_ref()), other.as_ref()));
    let mut nearest: Vec<(f64, &str)> = with_likeness.filter(|(likeness, _)| *likeness >= ALIKE).collect();
    nearest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    nearest.dedup();
    let nearest: Vec<String> = nearest.iter().take(3).map(|(_, name)| format!("'{name}'")).collect();
    match nearest.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", nearest.join(" or ")),
    }
}
