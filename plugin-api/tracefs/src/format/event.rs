use super::{BadFormat, Field};

/// The description of an event in its `format` file.
///
/// Source: `f_show` in `kernel/trace/trace_events.c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// The name, without its system.
    pub name: String,
    /// The id, which is the `common_type` of its records.
    pub id: u16,
    /// All fields, the common ones first, in the order of the file.
    pub fields: Vec<Field>,
    /// The text after `print fmt:`.
    pub print_fmt: String,
    /// How many of the fields are common to all events.
    common: usize,
}

impl EventFormat {
    /// Parses the text of a `format` file.
    ///
    /// # Errors
    /// The name, the id or the print format is missing, or a field line cannot be parsed.
    pub fn parse(text: &str) -> Result<Self, BadFormat> {
        let mut format = Self {
            name: line(text, "name:").ok_or(BadFormat::Missing("name:"))?.to_owned(),
            id: line(text, "ID:").and_then(|id| id.parse().ok()).ok_or(BadFormat::Missing("ID:"))?,
            fields: Vec::new(),
            print_fmt: print_fmt(text).ok_or(BadFormat::Missing("print fmt:"))?.to_owned(),
            common: 0,
        };
        let lines = text.lines().take_while(|line| !line.starts_with("print fmt:"));
        for line in lines {
            if line.trim_start().starts_with("field:") {
                let field = Field::parse(line).ok_or_else(|| BadFormat::Field(line.trim().to_owned()))?;
                format.fields.push(field);
            } else if line.trim().is_empty() && format.common == 0 {
                // An empty line separates the common fields from the event's own.
                format.common = format.fields.len();
            }
        }
        Ok(format)
    }

    /// The field with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether it is the event of a probe, whose records have an empty field, without even a NUL, for a string that could not be read.
    pub fn is_probe(&self) -> bool {
        ["__probe_ip", "__probe_func"].into_iter().any(|name| self.field(name).is_some())
    }

    /// The fields that are not common to all events.
    pub fn own_fields(&self) -> &[Field] {
        self.fields.get(self.common..).unwrap_or_default()
    }
}

fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// The print format extends to the end of the file: its strings may contain newlines.
fn print_fmt(text: &str) -> Option<&str> {
    let key = "print fmt:";
    let start = if text.starts_with(key) { 0 } else { text.find(&format!("\n{key}"))? + 1 };
    text.get(start + key.len()..).map(str::trim)
}
