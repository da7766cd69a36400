//! The types of arguments and results: how they are recorded and shown.

use trace_hook_api::{EventLine, Format, did_you_mean};
use tracefs::format::Field;
use tracefs_session::Record;

use super::quoted::quoted;

/// The type of an argument or a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueType {
    kind: Kind,
    /// How many pointers lead to the value.
    pointers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned(u32),
    Signed(u32),
    Hex(u32),
    Bool,
    /// A pointer to text that ends with a NUL.
    String,
}

/// The kernel's type for text that ends with a NUL.
pub const KERNEL_STRING: &str = "string";

/// The names of the types.
const NAMES: [(&str, Kind); 20] = [
    ("u8", Kind::Unsigned(8)),
    ("u16", Kind::Unsigned(16)),
    ("u32", Kind::Unsigned(32)),
    ("u64", Kind::Unsigned(64)),
    ("i8", Kind::Signed(8)),
    ("i16", Kind::Signed(16)),
    ("i32", Kind::Signed(32)),
    ("i64", Kind::Signed(64)),
    ("x8", Kind::Hex(8)),
    ("x16", Kind::Hex(16)),
    ("x32", Kind::Hex(32)),
    ("x64", Kind::Hex(64)),
    ("int", Kind::Signed(32)),
    ("uint", Kind::Unsigned(32)),
    ("long", Kind::Signed(64)),
    ("ulong", Kind::Unsigned(64)),
    ("size", Kind::Unsigned(64)),
    ("ptr", Kind::Hex(64)),
    ("bool", Kind::Bool),
    ("string", Kind::String),
];

/// What is shown of a value that could not be read.
pub const FAULT: &str = "(fault)";

/// Programs have no memory below this address, unless vm.mmap_min_addr allows it.
const MIN_ADDRESS: u64 = 4096;

/// The longest chain of pointers.
const MAX_POINTERS: usize = 4;

impl ValueType {
    /// A value whose type the user has not given.
    pub const UNKNOWN: Self = Self { kind: Kind::Hex(64), pointers: 0 };

    /// Parses `i32`, `string`, `*u32` …
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim_start_matches('*');
        let pointers = text.len() - name.len();
        let found = NAMES.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, kind)) if pointers <= MAX_POINTERS => Ok(Self { kind: *kind, pointers }),
            Some(_) => Err(format!("{} has more than {MAX_POINTERS} pointers", quoted(text))),
            None if matches!(name, "f32" | "f64" | "float" | "double") => {
                Err(format!("'{name}' cannot be recorded: probes have no access to floating-point registers"))
            }
            None => {
                let names = NAMES.map(|(known, _)| known);
                let hint = did_you_mean(name, &names);
                let all = if hint.is_empty() { format!("; the types are {}", names.join(" ")) } else { hint };
                Err(format!("unknown type {}{all}", quoted(text)))
            }
        }
    }

    /// How many fields it has in a record.
    pub fn field_count(self) -> usize {
        self.pointers_recorded() + 1
    }

    /// How many of the pointers are recorded. For memory that it cannot read, the kernel records zeros, or, if a further
    /// pointer was to be read there, whatever is in the buffer (`process_fetch_insn_bottom` in
    /// kernel/trace/trace_probe_tmpl.h). With the pointers that case can be recognised. For strings the kernel reports it.
    fn pointers_recorded(self) -> usize {
        if self.kind == Kind::String { 0 } else { self.pointers }
    }

    /// The fetch arguments and kernel types (Documentation/trace/uprobetracer.rst) for a value at `from`: of the pointers, the
    /// first one first, and of the value itself.
    pub fn fetches(self, from: &str) -> Vec<(String, &'static str)> {
        let pointers = (0..self.pointers_recorded()).map(|depth| (dereferenced(depth, from), "u64"));
        pointers.chain([self.fetch(from)]).collect()
    }

    fn fetch(self, from: &str) -> (String, &'static str) {
        // These are text already, not pointers to it.
        let is_text = from == "$comm" || from.starts_with("\\\"");
        let pointers = self.pointers + usize::from(self.kind == Kind::String && !is_text);
        let fetch = dereferenced(pointers, from);
        // The kernel fetches 64 bits from a register. From memory it must not read beyond the value.
        let in_memory = pointers > 0 || !from.starts_with(['%', '$']);
        let kernel_type = match self.kind {
            Kind::String => KERNEL_STRING,
            _ if !in_memory => "u64",
            Kind::Unsigned(8) | Kind::Signed(8) | Kind::Hex(8) | Kind::Bool => "u8",
            Kind::Unsigned(16) | Kind::Signed(16) | Kind::Hex(16) => "u16",
            Kind::Unsigned(32) | Kind::Signed(32) | Kind::Hex(32) => "u32",
            _ => "u64",
        };
        (fetch, kernel_type)
    }

    /// Adds the value in these fields of a record to a line.
    pub fn show<'a>(
        self,
        line: EventLine<'a>,
        name: &str,
        record: &Record<'_>,
        fields: &[Field],
        format: Format,
    ) -> EventLine<'a> {
        let Some((field, pointers)) = fields.split_last() else { return line };
        if pointers.iter().any(|pointer| (record.number(pointer) as u64) < MIN_ADDRESS) {
            return line.word(name, FAULT);
        }
        let number = record.number(field) as u64;
        match self.kind {
            Kind::Unsigned(bits) => line.number(name, low_bits(number, bits)),
            Kind::Signed(bits) => line.number(name, (number << (64 - bits)) as i64 >> (64 - bits)),
            Kind::Hex(bits) => line.address(name, low_bits(number, bits)),
            Kind::Bool => boolean(line, name, low_bits(number, 8) != 0, format),
            Kind::String => match field.bytes(record.data()) {
                // The memory could not be read.
                None | Some([]) => line.word(name, FAULT),
                Some(_) => line.text(name, record.text(field)),
            },
        }
    }
}

/// A flag that is false has no text. An argument always has one.
fn boolean<'a>(line: EventLine<'a>, name: &str, holds: bool, format: Format) -> EventLine<'a> {
    match format {
        Format::Json => line.flag(name, holds),
        _ => line.word(name, if holds { "true" } else { "false" }),
    }
}

/// The fetch argument for what is found by following this many pointers.
fn dereferenced(pointers: usize, from: &str) -> String {
    (0..pointers).fold(from.to_owned(), |inner, _| format!("+0({inner})"))
}

fn low_bits(number: u64, bits: u32) -> u64 {
    number & (u64::MAX >> (64 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(value: &str, from: &str) -> String {
        let (fetch, kernel_type) = ValueType::parse(value).unwrap().fetch(from);
        format!("{fetch}:{kernel_type}")
    }

    #[test]
    fn values_are_fetched_from_registers_and_memory() {
        assert_eq!(fetch("i32", "%di"), "%di:u64");
        assert_eq!(fetch("*i32", "%di"), "+0(%di):u32");
        assert_eq!(fetch("**bool", "%di"), "+0(+0(%di)):u8");
        assert_eq!(fetch("string", "%si"), "+0(%si):string");
        assert_eq!(fetch("*string", "$retval"), "+0(+0($retval)):string");
        assert_eq!(fetch("u16", "+8(%di)"), "+8(%di):u16");
    }

    #[test]
    fn pointers_to_a_number_are_recorded() {
        let fetches = |value: &str, from: &str| {
            let value = ValueType::parse(value).unwrap();
            let fetches = value.fetches(from);
            assert_eq!(fetches.len(), value.field_count());
            fetches
                .into_iter()
                .map(|(fetch, kernel_type)| format!("{fetch}:{kernel_type}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(fetches("i32", "%di"), ["%di:u64"]);
        assert_eq!(fetches("**i32", "%di"), ["%di:u64", "+0(%di):u64", "+0(+0(%di)):u32"]);
        assert_eq!(fetches("*u8", "+8(%di)"), ["+8(%di):u64", "+0(+8(%di)):u8"]);
        assert_eq!(fetches("*string", "%di"), ["+0(+0(%di)):string"]);
    }

    #[test]
    fn errors_name_unknown_types() {
        assert!(ValueType::parse("sting").unwrap_err().contains("did you mean 'string'"));
        assert!(ValueType::parse("").unwrap_err().contains("u8 u16"));
        assert!(ValueType::parse("f64").unwrap_err().contains("floating-point"));
        assert!(ValueType::parse("*****u8").unwrap_err().contains("pointers"));
    }
}
