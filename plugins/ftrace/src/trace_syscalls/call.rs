//! The events of a system call, by the kernel's formats.

use trace_hook_api::EventLine;
use trace_syscalls::{ArgumentType, Value, argument_type, is_32_bit, never_returns, returns_address};
use tracefs::format::{EventFormat, Field};
use tracefs_session::Record;

/// The event of the entry of a call.
#[derive(Debug)]
pub struct EnterEvent {
    pub call: String,
    pub never_returns: bool,
    pub returns_address: bool,
    parameters: Vec<Parameter>,
}

/// The event of the return of a call.
#[derive(Debug)]
pub struct ExitEvent {
    pub call: String,
    /// The id of the event of the entry.
    pub enter: u16,
    pub returns_address: bool,
    pub result: Field,
}

#[derive(Debug)]
struct Parameter {
    field: Field,
    /// Whether the kernel reads only the lower half of the register.
    is_32_bit: bool,
    argument_type: ArgumentType,
    /// The string that the parameter points to, if the kernel records it.
    text: Option<Field>,
}

/// The number of parameters that a system call can have.
const MOST_PARAMETERS: usize = 6;

/// The arguments of a call, in the order of its parameters.
#[derive(Debug, Default)]
pub struct Arguments {
    numbers: [u64; MOST_PARAMETERS],
    /// The strings that arguments point to, by the index of the argument.
    texts: Vec<(usize, Vec<u8>)>,
}

impl EnterEvent {
    pub fn of(format: &EventFormat, call: &str) -> Self {
        // `__syscall_nr`, and since Linux 6.19 `__filename_val`: the string that `filename` points to.
        let parameters = format.own_fields().iter().filter(|field| !field.name.starts_with("__"));
        let parameters = parameters.map(|field| Parameter {
            is_32_bit: is_32_bit(&field.type_name),
            argument_type: argument_type(call, &field.name, &field.type_name),
            text: format.field(&format!("__{}_val", field.name)).filter(|field| field.is_text()).cloned(),
            field: field.clone(),
        });
        Self {
            call: call.to_owned(),
            never_returns: never_returns(call),
            returns_address: returns_address(call),
            parameters: parameters.collect(),
        }
    }

    pub fn arguments(&self, record: &Record<'_>) -> Arguments {
        let mut arguments = Arguments::default();
        for (index, (parameter, number)) in self.parameters.iter().zip(&mut arguments.numbers).enumerate() {
            let register = record.number(&parameter.field) as u64;
            *number = if parameter.is_32_bit { u64::from(register as u32) } else { register };
            // An empty text has a NUL. One that could not be read has not even that: then its address is shown.
            let is_read = |field: &&Field| field.bytes(record.data()).is_some_and(|bytes| !bytes.is_empty());
            let text = parameter.text.as_ref().filter(is_read);
            arguments.texts.extend(text.map(|field| (index, record.text(field).to_vec())));
        }
        arguments
    }

    /// Adds the arguments to the line.
    pub fn show<'a>(&self, arguments: &Arguments, line: EventLine<'a>) -> EventLine<'a> {
        let all = self.parameters.iter().zip(arguments.numbers).enumerate();
        let text_of = |index| arguments.texts.iter().find(|(of, _)| *of == index).map(|(_, text)| text);
        line.group("arguments", |line| {
            all.fold(line, |line, (index, (parameter, number))| match text_of(index) {
                Some(text) => line.text(&parameter.field.name, text),
                None => {
                    let value = parameter.argument_type.value(number, &arguments.numbers);
                    show_value(line, &parameter.field.name, &value)
                }
            })
        })
    }
}

impl ExitEvent {
    /// `None` if the event has no result.
    pub fn of(format: &EventFormat, call: &str, enter: u16) -> Option<Self> {
        Some(Self {
            call: call.to_owned(),
            enter,
            returns_address: returns_address(call),
            result: format.field("ret")?.clone(),
        })
    }
}

/// Adds an argument to the line.
fn show_value<'a>(line: EventLine<'a>, name: &str, value: &Value) -> EventLine<'a> {
    match value {
        Value::Signed(number) => line.number(name, *number),
        Value::Unsigned(number) => line.number(name, *number),
        Value::Address(address) => line.address(name, *address),
        Value::Name(text) => line.word(name, text),
        Value::Unused => line,
        // A kind of value that a later version of the crate adds.
        other => line.word(name, &other.to_string()),
    }
}
