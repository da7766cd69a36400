//! What the kernel's formats tell of a system call.

use trace_hook_api::EventLine;
use tracefs::Record;
use tracefs::format::{EventFormat, Field};

use super::meaning::{Meaning, is_int};

/// Calls that do not return to where they were made, and of whose return the kernel does not tell.
const WITHOUT_RETURN: [&str; 4] = ["exit", "exit_group", "rt_sigreturn", "sigreturn"];

/// Calls whose result is an address.
const WITH_ADDRESS: [&str; 4] = ["mmap", "mremap", "brk", "shmat"];

/// The event of a call's beginning.
#[derive(Debug)]
pub struct EnterEvent {
    pub call: String,
    pub never_returns: bool,
    pub returns_address: bool,
    parameters: Vec<Parameter>,
}

/// The event of a call's return.
#[derive(Debug)]
pub struct ExitEvent {
    pub call: String,
    /// The id of the event of the call's beginning.
    pub enter: u16,
    pub returns_address: bool,
    pub result: Field,
}

#[derive(Debug)]
struct Parameter {
    field: Field,
    /// Whether the kernel looks at the lower half of the register only, whatever is in the upper one.
    is_int: bool,
    meaning: Meaning,
    /// Where the kernel records what the parameter points to.
    text: Option<Field>,
}

/// No system call takes more.
const MOST_PARAMETERS: usize = 6;

/// What a call was given, by its parameters.
#[derive(Debug, Default)]
pub struct Arguments {
    numbers: [u64; MOST_PARAMETERS],
    /// What the kernel has recorded of what the numbers point to.
    texts: Vec<(usize, Vec<u8>)>,
}

impl EnterEvent {
    pub fn of(format: &EventFormat, call: &str) -> Self {
        // `__syscall_nr`, and since Linux 6.19 `__filename_val`: the text that `filename` points to.
        let parameters = format.own_fields().iter().filter(|field| !field.name.starts_with("__"));
        let parameters = parameters.map(|field| Parameter {
            is_int: is_int(&field.type_name),
            meaning: Meaning::of(call, &field.name, &field.type_name),
            text: format.field(&format!("__{}_val", field.name)).filter(|field| field.is_text()).cloned(),
            field: field.clone(),
        });
        Self {
            call: call.to_owned(),
            never_returns: WITHOUT_RETURN.contains(&call),
            returns_address: WITH_ADDRESS.contains(&call),
            parameters: parameters.collect(),
        }
    }

    pub fn arguments(&self, record: &Record<'_>) -> Arguments {
        let mut arguments = Arguments::default();
        for (index, (parameter, number)) in self.parameters.iter().zip(&mut arguments.numbers).enumerate() {
            let register = record.number(&parameter.field) as u64;
            *number = if parameter.is_int { u64::from(register as u32) } else { register };
            let text = parameter.text.as_ref().map(|field| (index, record.text(field).to_vec()));
            arguments.texts.extend(text);
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
                None => parameter.meaning.show(line, &parameter.field.name, number, &arguments.numbers),
            })
        })
    }
}

impl ExitEvent {
    /// None: the event has no result.
    pub fn of(format: &EventFormat, call: &str, enter: u16) -> Option<Self> {
        Some(Self {
            call: call.to_owned(),
            enter,
            returns_address: WITH_ADDRESS.contains(&call),
            result: format.field("ret")?.clone(),
        })
    }
}
