/// Quotes what the user wrote for a message. A long text is cut, so that the rest of the message stays visible.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(quoted("ł"), "'ł'");
        assert_eq!(quoted(&"ł".repeat(1000)), format!("'{}…'", "ł".repeat(200)));
    }
}
