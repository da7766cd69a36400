//! Escapes bytes of traced programs, so that they cannot break a line or control a terminal.

use std::io::Write as _;

/// Returns whether a terminal displays the character as it is. Control characters are commands for the terminal, format
/// characters change how other characters are displayed (Unicode 16, categories Cf, Zl and Zp), and others are not visible at all
/// (`Default_Ignorable_Code_Point`, and the Braille pattern without dots).
pub fn is_plain(letter: char) -> bool {
    let is_invisible = matches!(letter,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}');
    let is_format = matches!(letter,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}');
    !letter.is_control() && !is_format && !is_invisible
}

/// Appends the bytes as printable text. Other characters and invalid UTF-8 become escapes such as `\n`, `\u{202e}` or `\xff`;
/// a backslash precedes `quote` and backslashes.
pub fn text(out: &mut Vec<u8>, bytes: &[u8], quote: Option<char>) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                ' '..='~' if letter != '\\' && Some(letter) != quote => out.push(letter as u8),
                // It separates the items of a list.
                ';' => out.extend_from_slice(b"\\u{3b}"),
                _ if Some(letter) == quote => write_all(out, format_args!("\\{letter}")),
                _ if !letter.is_control() && !is_plain(letter) => {
                    write_all(out, format_args!("{}", letter.escape_unicode()));
                }
                _ => write_all(out, format_args!("{}", letter.escape_debug())),
            }
        }
        for byte in chunk.invalid() {
            write_all(out, format_args!("\\x{byte:02x}"));
        }
    }
}

/// Appends the bytes as a JSON string. Invalid UTF-8 becomes U+FFFD.
pub fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
                ' '..='~' => out.push(letter as u8),
                '\n' => out.extend_from_slice(b"\\n"),
                '\t' => out.extend_from_slice(b"\\t"),
                // JSON may be shown in a terminal, and some readers take U+2028 for a line end.
                _ if letter.escape_debug().len() > 1 || !is_plain(letter) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        write_all(out, format_args!("\\u{unit:04x}"));
                    }
                }
                _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Writing into memory cannot fail.
pub fn write_all(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        text(&mut out, bytes, Some('"'));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_cannot_control_a_terminal() {
        assert_eq!(as_text(b"a b"), "a b");
        assert_eq!(as_text("żółw".as_bytes()), "żółw");
        assert_eq!(as_text(b"a\nb\x1b[2J\x00"), r"a\nb\u{1b}[2J\0");
        assert_eq!(as_text("\u{202e}gpj.exe".as_bytes()), r"\u{202e}gpj.exe");
        assert_eq!(as_text(br#"it's "\"#), r#"it's \"\\"#);
        assert_eq!(as_text(b"\xff\xfe"), r"\xff\xfe");
    }

    #[test]
    fn json_escapes_invisible_characters() {
        let mut out = Vec::new();
        json(&mut out, "żó\u{2028}\u{202e}\u{9b}\u{e0001}".as_bytes());
        assert_eq!(str::from_utf8(&out).unwrap(), r#""żó\u2028\u202e\u009b\udb40\udc01""#);
    }

    #[test]
    fn invisible_characters_are_not_plain() {
        assert!("a ~żó\u{a0}\u{301}→".chars().all(is_plain));
        assert!(!"\n\u{7f}\u{9b}\u{200b}\u{202e}\u{2066}\u{feff}\u{e0001}".chars().any(is_plain));
        let invisible = "\u{34f}\u{115f}\u{17b4}\u{2800}\u{3164}\u{fe0f}\u{ffa0}\u{e0100}";
        assert!(!invisible.chars().any(is_plain));
        let mut out = Vec::new();
        text(&mut out, invisible.as_bytes(), None);
        json(&mut out, invisible.as_bytes());
        assert!(out.is_ascii(), "{}", String::from_utf8_lossy(&out));
    }

    proptest! {
        #[test]
        fn json_is_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            json(&mut out, &bytes);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
            prop_assert!(!out.iter().any(u8::is_ascii_control));
        }

        #[test]
        fn text_has_no_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!as_text(&bytes).chars().any(char::is_control));
        }
    }
}
