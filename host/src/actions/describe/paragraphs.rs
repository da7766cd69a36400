//! Breaks long paragraphs at the ends of sentences.
//!
//! container-tracer shows each line of a description without its indentation, and omits empty lines. A paragraph that
//! takes the whole screen is not read there.

/// In characters.
pub const LONGEST: usize = 300;

/// The text with no line that is longer than [`LONGEST`], unless it has no blank to break it at.
pub fn shortened(text: &str) -> String {
    text.lines().flat_map(broken).map(|line| format!("{line}\n")).collect()
}

fn broken(line: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut left = line;
    while left.chars().count() > LONGEST
        && let Some((first, others)) = split(left)
    {
        lines.push(first);
        left = others;
    }
    lines.push(left);
    lines
}

/// Splits the line after the last sentence that ends early enough, or else after the last part of a sentence, or word.
fn split(line: &str) -> Option<(&str, &str)> {
    let limit = line.char_indices().nth(LONGEST).map_or(line.len(), |(index, _)| index);
    let (early, indentation) = (&line[..limit], line.len() - line.trim_start().len());
    let end = [". ", "; ", ", ", " "].into_iter().find_map(|mark| {
        let at = early.rfind(mark).filter(|at| *at > indentation)?;
        Some(at + mark.len())
    })?;
    Some((line[..end].trim_end(), &line[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paragraphs_are_broken_at_sentences() {
        let sentence = format!("{}.", "word ".repeat(30).trim_end());
        let text = [sentence.as_str(); 5].join(" ");
        assert_eq!(shortened(&text), format!("{sentence}\n").repeat(5));
        assert_eq!(shortened("short. enough.\n\n  indented\n"), "short. enough.\n\n  indented\n");
    }

    #[test]
    fn long_sentences_are_broken_at_parts_and_words() {
        let part = "a".repeat(200);
        assert_eq!(shortened(&format!("{part}; {part}, b")), format!("{part};\n{part}, b\n"));
        assert_eq!(shortened(&format!("{part} {part}")), format!("{part}\n{part}\n"));
        let word = "ü".repeat(LONGEST + 1);
        assert_eq!(shortened(&format!("  {word}")), format!("  {word}\n"));
    }
}
