//! The events and probes for the functions to trace.

use std::path::PathBuf;

use trace_hook_api::{HookError, Result, did_you_mean};
use tracefs::UserProbe;

use super::calling_convention::CallingConvention;
use super::function_name::display_name;
use super::left_out::LeftOut;
use super::probe_target::ProbeTarget;
use super::prototype::{Argument, Prototype, Source};
use super::quoted::quoted;
use super::value::{KERNEL_STRING, ValueType};

/// The functions to trace, and the events and probes for them.
///
/// Functions share events, because the kernel takes long to disable each event. Each record contains the number of its
/// function, which is a constant in the definition of its probe.
#[derive(Default)]
pub struct ProbeSet {
    /// How many functions and events there are in sets before this one.
    before: (usize, usize),
    /// The number of a function is its place here, after those of the sets before.
    pub functions: Vec<Function>,
    pub events: Vec<Event>,
    pub probes: Vec<UserProbe>,
}

/// A traced function.
pub struct Function {
    pub name: String,
    pub binary: PathBuf,
    pub arguments: Vec<(String, ValueType)>,
    pub result: ValueType,
}

/// An event that several functions share.
#[derive(Clone)]
pub struct Event {
    pub name: String,
    pub kind: ProbeKind,
    /// The kernel's types of the recorded values, without the number of the function.
    types: Vec<&'static str>,
}

/// Whether a probe is at the entry of a function or at its return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    Call,
    Return,
}

/// The field that has the number of the function.
pub const FUNCTION_FIELD: &str = "function";

/// A string that is recorded after the others, and shows whether one of them has used its room.
///
/// The kernel reserves room for all strings of a call together, and none for a string that is too long. Then it copies them
/// one by one: such a string uses the room of those after it.
pub const GUARD_FIELD: &str = "guard";
/// The name of the thread: never too long, never empty.
const GUARD: &str = "$comm:string";

impl Event {
    /// The same event under another name.
    pub fn named(&self, name: String) -> Self {
        Self { name, kind: self.kind, types: self.types.clone() }
    }

    /// Whether it has a guard.
    pub fn is_guarded(&self) -> bool {
        is_guarded(&self.types)
    }

    /// The fields that hold the values, in order.
    pub fn value_fields(&self) -> impl Iterator<Item = String> {
        (0..self.types.len()).map(value_field)
    }
}

impl ProbeSet {
    /// What cannot be recorded of some functions is left out.
    ///
    /// # Errors
    ///
    /// What the user wants to see cannot be recorded of any function.
    pub fn new(
        targets: &[ProbeTarget],
        prototypes: &[Prototype],
        with_returns: bool,
    ) -> Result<(Self, LeftOut)> {
        let (mut set, mut left_out, mut refusal) = (Self::default(), LeftOut::default(), None);
        let mut used = vec![false; prototypes.len()];
        for target in targets {
            let matching = prototypes.iter().rposition(|prototype| prototype.matches(&target.symbols));
            matching.into_iter().for_each(|index| used[index] = true);
            let prototype = matching.map(|index| &prototypes[index]);
            if let Some(name) = prototype
                .filter(|prototype| prototype.result.is_some() && !with_returns)
                .map(|_| target.name())
            {
                return Err(HookError::usage(format!(
                    "the result of '{name}' is recorded with --return only"
                )));
            }
            if let Err(error) = set.add(target, prototype, with_returns) {
                left_out.add(error.message());
                refusal.get_or_insert(error);
            }
        }
        if let Some(index) = used.iter().position(|used| !used)
            && !targets.is_empty()
        {
            return Err(unused(&prototypes[index], targets));
        }
        match refusal.filter(|_| set.functions.is_empty()) {
            Some(refusal) => Err(refusal),
            None => Ok((set, left_out)),
        }
    }

    /// The same for functions that are found later. What cannot be recorded is left out; `refused` is called with the reason.
    pub fn continuing(
        before: (usize, usize),
        targets: &[ProbeTarget],
        prototypes: &[Prototype],
        with_returns: bool,
        mut refused: impl FnMut(String),
    ) -> Self {
        let mut set = Self { before, ..Self::default() };
        for target in targets {
            let prototype = prototypes.iter().rfind(|prototype| prototype.matches(&target.symbols));
            let added = set.add(target, prototype, with_returns);
            added.unwrap_or_else(|error| refused(error.message().to_owned()));
        }
        set
    }

    fn add(&mut self, target: &ProbeTarget, prototype: Option<&Prototype>, with_returns: bool) -> Result<()> {
        let arguments = prototype.map(|prototype| prototype.arguments.as_slice()).unwrap_or_default();
        let result = prototype.and_then(|prototype| prototype.result);
        let name = target.name();
        if with_returns && target.is_in_go_file {
            return Err(HookError::usage(format!(
                "--return would crash {}: Go moves its stacks, with the return addresses that the kernel replaces",
                target.binary.path.display()
            )));
        }
        if with_returns && target.is_label {
            return Err(HookError::usage(format!(
                "--return could crash {}: '{name}' is a label, and if it is jumped to, the kernel replaces something else than a return \
                 address",
                target.binary.path.display()
            )));
        }
        let fetches =
            arguments.iter().map(|argument| fetches(argument, target, &name)).collect::<Result<Vec<_>>>()?;
        self.add_probe(target, ProbeKind::Call, fetches.concat());
        let result = result.unwrap_or(ValueType::UNKNOWN);
        if with_returns {
            self.add_probe(target, ProbeKind::Return, result.fetches("$retval"));
        }
        let arguments = arguments.iter().map(|argument| (argument.name.clone(), argument.value)).collect();
        self.functions.push(Function { name, binary: target.binary.path.clone(), arguments, result });
        Ok(())
    }

    fn add_probe(&mut self, target: &ProbeTarget, kind: ProbeKind, fetches: Vec<(String, &'static str)>) {
        let number = self.before.0 + self.functions.len();
        let values = fetches.iter().enumerate();
        let values =
            values.map(|(n, (fetch, kernel_type))| format!("{}={fetch}:{kernel_type}", value_field(n)));
        let types: Vec<&'static str> = fetches.iter().map(|(_, kernel_type)| *kernel_type).collect();
        let guard = is_guarded(&types).then(|| format!("{GUARD_FIELD}={GUARD}"));
        let number = [format!("{FUNCTION_FIELD}=\\{number}:u32")];
        let arguments: Vec<String> = number.into_iter().chain(values).chain(guard).collect();
        let event = self.event(kind, types);
        let probe = match kind {
            ProbeKind::Call => UserProbe::at(event, &target.binary.link, target.offset),
            ProbeKind::Return => UserProbe::at_return(event, &target.binary.link, target.offset),
        };
        self.probes.push(probe.arguments(arguments));
    }

    /// The event for values of these types: all probes of an event must record the same types.
    fn event(&mut self, kind: ProbeKind, types: Vec<&'static str>) -> String {
        if let Some(event) = self.events.iter().find(|event| event.kind == kind && event.types == types) {
            return event.name.clone();
        }
        let prefix = if kind == ProbeKind::Call { "call" } else { "return" };
        let name = format!("{prefix}{}", self.before.1 + self.events.len());
        self.events.push(Event { name: name.clone(), kind, types });
        name
    }
}

fn is_guarded(types: &[&str]) -> bool {
    types.iter().filter(|kernel_type| **kernel_type == KERNEL_STRING).count() > 1
}

fn value_field(number: usize) -> String {
    format!("value{number}")
}

fn fetches(argument: &Argument, target: &ProbeTarget, function: &str) -> Result<Vec<(String, &'static str)>> {
    let from = match &argument.source {
        Source::Fetch(fetch) => fetch.clone(),
        Source::Number(number) => {
            let calling_convention = target.calling_convention();
            calling_convention
                .argument(*number)
                .ok_or_else(|| unknown_argument(calling_convention, *number, function))?
        }
    };
    Ok(argument.value.fetches(&from))
}

/// The error for an argument of which it is not known where it is.
fn unknown_argument(calling_convention: CallingConvention, number: usize, function: &str) -> HookError {
    let argument = number + 1;
    HookError::usage(match calling_convention {
        CallingConvention::Unknown => format!(
            "'{function}' is not compiled by Go, so it is not known where argument {argument} is: write NAME: TYPE = FETCH; for a C \
             function, FETCH is {}",
            CallingConvention::C.argument(number).unwrap_or_default(),
        ),
        CallingConvention::C | CallingConvention::Go => {
            format!(
                "argument {argument} of '{function}' is not in a register, and arguments on the stack of a Go program are not supported"
            )
        }
    })
}

fn unused(prototype: &Prototype, targets: &[ProbeTarget]) -> HookError {
    let names: Vec<_> =
        targets.iter().flat_map(|target| target.symbols.iter().map(|symbol| display_name(symbol))).collect();
    let function = prototype.function.as_ref().map_or("", |function| &function.text);
    let hint = did_you_mean(function, &names);
    HookError::usage(format!(
        "--args {} matches none of the functions that --function selects{hint}",
        quoted(&prototype.text)
    ))
}
