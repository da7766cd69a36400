//! The fields that are shown, if not all of them are.

use super::evaluation::is_field;
use crate::{Format, escape};

/// Stands for a field that an event does not have.
const MISSING: &[u8] = b"-";
/// Between two columns.
const GAP: &[u8] = b"  ";

/// The values of the shown fields of one event.
#[derive(Debug)]
pub struct ColumnValues {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// The least width in text.
    width: usize,
    value: Vec<u8>,
}

impl ColumnValues {
    pub fn of(names: &[String]) -> Self {
        let column = |name: &String| Column { name: name.clone(), width: width(name), value: Vec::new() };
        Self { columns: names.iter().map(column).collect() }
    }

    /// The names of the columns, above their values. Only for text.
    pub fn heading(names: &[String]) -> String {
        let mut heading = Self::of(names);
        heading.columns.iter_mut().for_each(|column| column.value = column.name.clone().into_bytes());
        let mut line = Vec::new();
        heading.write_row(&mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Forgets the values of the last event.
    pub fn begin(&mut self) {
        self.columns.iter_mut().for_each(|column| column.value.clear());
    }

    /// The position of the column for a field that has no value yet.
    pub fn position(&self, group: &str, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.value.is_empty() && is_field(&column.name, group, name))
    }

    /// The value of a column, to append to.
    pub fn value(&mut self, position: usize) -> &mut Vec<u8> {
        &mut self.columns[position].value
    }

    /// Appends the columns.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => self.write_object(out),
            _ => self.write_row(out),
        }
    }

    fn write_row(&self, out: &mut Vec<u8>) {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(GAP);
            }
            let value = if column.value.is_empty() { MISSING } else { &column.value };
            out.extend_from_slice(value);
            let is_last = index + 1 == self.columns.len();
            let missing = column.width.saturating_sub(String::from_utf8_lossy(value).chars().count());
            out.extend(std::iter::repeat_n(b' ', if is_last { 0 } else { missing }));
        }
    }

    fn write_object(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for column in self.columns.iter().filter(|column| !column.value.is_empty()) {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            out.extend_from_slice(&column.value);
        }
        out.push(b'}');
    }
}

/// A member of an object, before its value.
pub fn write_name(name: &str, out: &mut Vec<u8>) {
    escape::json(out, name.as_bytes());
    out.push(b':');
}

fn width(name: &str) -> usize {
    match name {
        "cpu" => 3,
        "pid" | "tid" => 7,
        "time" | "comm" => 15,
        "path" | "name" => 40,
        other => other.len().max(12),
    }
}
