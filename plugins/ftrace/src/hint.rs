//! What a user may have meant.

/// How alike two names must be to suggest one for the other, from 0 to 1.
const ALIKE: f64 = 0.75;

/// `; did you mean 'this' or 'that'?`, or nothing where no name is like it.
pub fn did_you_mean(name: &str, known: &[String]) -> String {
    let likeness = |other: &String| strsim::jaro(name, other);
    let mut nearest: Vec<&String> = known.iter().filter(|other| likeness(other) >= ALIKE).collect();
    nearest.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let nearest: Vec<String> = nearest.iter().take(3).map(|name| format!("'{name}'")).collect();
    match nearest.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", nearest.join(" or ")),
    }
}
