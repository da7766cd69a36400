/// What a user wrote, in a message: of something very long its beginning, lest the rest of the message be lost.
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
    fn what_is_long_is_cut_between_letters() {
        assert_eq!(quoted("ł"), "'ł'");
        assert_eq!(quoted(&"ł".repeat(1000)), format!("'{}…'", "ł".repeat(200)));
    }
}
