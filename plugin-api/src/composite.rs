//! Values that have parts, as strace(1) prints them.

use std::borrow::Cow;

use crate::escape::{self, write_all};
use crate::view::Value;

/// A value that may have parts: `{fd=3</etc/passwd>, events=POLLIN}`. See [`EventLine::composite`](crate::EventLine::composite).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Composite<'a> {
    /// Text from a traced program: `"abc"`, or `"abc"...` if there is more of it. In JSON a string.
    Text {
        /// The text, unescaped.
        bytes: Cow<'a, [u8]>,
        /// Whether it is only the beginning.
        is_cut: bool,
    },
    /// A word of the hook's own. In JSON a string.
    Word(Cow<'a, str>),
    /// A whole number. In JSON a number.
    Number(i128),
    /// An address. In JSON a string.
    Address(u64),
    /// The number of something, and what it is: `3</etc/passwd>`. In JSON the number, and beside it what it is, as `NAME_is`.
    Reference {
        /// The number, or a word that stands for it.
        number: Box<Composite<'a>>,
        /// What it is: text from a traced program, or a word.
        is: Box<Composite<'a>>,
    },
    /// Several values: `[1, 2]`, or `[1, 2, ...]` if there are more. In JSON an array.
    List {
        /// The values.
        items: Vec<Composite<'a>>,
        /// Whether they are only the first ones.
        is_cut: bool,
    },
    /// Fields by name: `{a=1, b=2}`, or `{a=1, ...}` if not all of them are shown. In JSON an object.
    Fields {
        /// The fields, in order.
        fields: Vec<(Cow<'a, str>, Composite<'a>)>,
        /// Whether there are others.
        is_cut: bool,
    },
}

impl<'a> Composite<'a> {
    /// Text that is complete.
    pub fn text(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Text { bytes: bytes.into(), is_cut: false }
    }

    /// A word.
    pub fn word(word: impl Into<Cow<'a, str>>) -> Self {
        Self::Word(word.into())
    }

    /// A list of all values.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List { items: items.into_iter().collect(), is_cut: false }
    }

    /// Calls `visit` for each part that is no composite itself, with its name: that of its field.
    pub(crate) fn visit(&self, name: &str, visit: &mut impl FnMut(&str, Value<'_>)) {
        match self {
            Self::Text { bytes, .. } => visit(name, Value::Text(bytes)),
            Self::Word(word) => visit(name, Value::Text(word.as_bytes())),
            Self::Number(number) => visit(name, Value::Number(*number)),
            Self::Address(address) => visit(name, Value::Number((*address).into())),
            Self::Reference { number, is } => {
                number.visit(name, visit);
                is.visit(&format!("{name}{IS}"), visit);
            }
            Self::List { items, .. } => items.iter().for_each(|item| item.visit(name, visit)),
            Self::Fields { fields, .. } => fields.iter().for_each(|(name, value)| value.visit(name, visit)),
        }
    }

    pub(crate) fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text { bytes, is_cut } => {
                out.push(b'"');
                escape::text(out, bytes, Some('"'));
                out.extend_from_slice(if *is_cut { b"\"..." } else { b"\"" });
            }
            Self::Word(word) => escape::text(out, word.as_bytes(), None),
            Self::Number(number) => write_all(out, format_args!("{number}")),
            Self::Address(address) => write_all(out, format_args!("{address:#x}")),
            Self::Reference { number, is } => {
                number.write_text(out);
                out.push(b'<');
                match is.as_ref() {
                    Self::Text { bytes, .. } => escape::text(out, bytes, Some('>')),
                    is => is.write_text(out),
                }
                out.push(b'>');
            }
            Self::List { items, is_cut } => {
                let items = items.iter().map(|item| move |out: &mut Vec<u8>| item.write_text(out));
                write_joined(out, *b"[]", items, *is_cut);
            }
            Self::Fields { fields, is_cut } => {
                let fields = fields.iter().map(|(name, value)| {
                    move |out: &mut Vec<u8>| {
                        write_all(out, format_args!("{name}="));
                        value.write_text(out);
                    }
                });
                write_joined(out, *b"{}", fields, *is_cut);
            }
        }
    }

    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text { bytes, .. } => escape::json(out, bytes),
            Self::Word(word) => escape::json(out, word.as_bytes()),
            Self::Number(number) => write_all(out, format_args!("{number}")),
            Self::Address(address) => write_all(out, format_args!("\"{address:#x}\"")),
            Self::Reference { number, .. } => number.write_json(out),
            Self::List { items, .. } => {
                out.push(b'[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    item.write_json_item(out);
                }
                out.push(b']');
            }
            Self::Fields { fields, .. } => {
                out.push(b'{');
                for (position, (name, value)) in fields.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    value.write_json_member(name, out);
                }
                out.push(b'}');
            }
        }
    }

    /// The members of an object that a field becomes.
    pub(crate) fn write_json_member(&self, name: &str, out: &mut Vec<u8>) {
        escape::json(out, name.as_bytes());
        out.push(b':');
        self.write_json(out);
        self.write_json_companions(name, out);
    }

    /// The members beside the one that has the value.
    pub(crate) fn write_json_companions(&self, name: &str, out: &mut Vec<u8>) {
        if let Self::Reference { is, .. } = self {
            write_all(out, format_args!(",\"{name}{IS}\":"));
            is.write_json(out);
        }
        if self.is_cut() {
            write_all(out, format_args!(",\"{name}_cut\":true"));
        }
    }

    /// An item of a list has no name for what it is.
    fn write_json_item(&self, out: &mut Vec<u8>) {
        match self {
            Self::Reference { .. } => {
                out.push(b'{');
                self.write_json_member("number", out);
                out.push(b'}');
            }
            _ => self.write_json(out),
        }
    }

    fn is_cut(&self) -> bool {
        match self {
            Self::Text { is_cut, .. } | Self::Fields { is_cut, .. } => *is_cut,
            Self::List { items, is_cut } => *is_cut || items.iter().any(Self::is_cut),
            _ => false,
        }
    }
}

/// Ends the name of the member that says what a number is.
const IS: &str = "_is";

fn write_joined<W: FnOnce(&mut Vec<u8>)>(
    out: &mut Vec<u8>,
    [begin, end]: [u8; 2],
    parts: impl Iterator<Item = W>,
    is_cut: bool,
) {
    out.push(begin);
    let mut is_first = true;
    for write in parts {
        if !is_first {
            out.extend_from_slice(b", ");
        }
        is_first = false;
        write(out);
    }
    if is_cut {
        out.extend_from_slice(if is_first { b"..." } else { b", ..." });
    }
    out.push(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, LineBuffer, Origin};

    fn example() -> Composite<'static> {
        let fd = Composite::Reference {
            number: Box::new(Composite::Number(3)),
            is: Box::new(Composite::text(&b"/a>b"[..])),
        };
        let fields = vec![
            ("fd".into(), fd.clone()),
            ("base".into(), Composite::Text { bytes: Cow::Borrowed(b"a\"\n"), is_cut: true }),
            ("at".into(), Composite::Address(16)),
            ("none".into(), Composite::list([])),
        ];
        Composite::List { items: vec![Composite::Fields { fields, is_cut: true }, fd], is_cut: true }
    }

    fn line(format: Format) -> String {
        let mut lines = LineBuffer::with_room(4096).in_format(format);
        drop(lines.event(&Origin::at(5), "x").composite("all", &example()).number("result", 1));
        String::from_utf8(lines.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn text_is_as_strace_prints_it() {
        let text = line(Format::Text);
        let expected =
            r#"x: all=[{fd=3</a\>b>, base="a\"\n"..., at=0x10, none=[], ...}, 3</a\>b>, ...] result=1"#;
        assert_eq!(
            text.split_once("x: ").map(|(_, rest)| format!("x: {}", rest.trim_end())).unwrap(),
            expected
        );
    }

    #[test]
    fn json_has_typed_members() {
        let value: serde_json::Value = serde_json::from_str(&line(Format::Json)).unwrap();
        let expected = serde_json::json!([
            {"fd": 3, "fd_is": "/a>b", "base": "a\"\n", "base_cut": true, "at": "0x10", "none": []},
            {"number": 3, "number_is": "/a>b"},
        ]);
        assert_eq!(
            (&value["all"], &value["all_cut"], &value["result"]),
            (&expected, &true.into(), &1.into())
        );
    }

    #[test]
    fn parts_are_visited_by_the_names_of_their_fields() {
        let mut names = Vec::new();
        example().visit("all", &mut |name, _| names.push(name.to_owned()));
        assert_eq!(names, ["fd", "fd_is", "base", "at", "all", "all_is"]);
    }
}
