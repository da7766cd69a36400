//! Which events the kernel is to make of the functions.

use std::path::PathBuf;

use trace_hook_api::{HookError, Result, did_you_mean};
use trace_symbols::display_name;
use tracefs::UserProbe;

use super::LONGEST_NAME;
use super::convention::Convention;
use super::place::Place;
use super::prototype::{Argument, Prototype, Source};
use super::quoted::quoted;
use super::value::{KERNEL_STRING, ValueType};

/// The functions to trace, what is recorded of them, and by which events.
///
/// A few events serve all functions, for the kernel takes its time to disable each. Every record has the number of its
/// function, which is a constant that the kernel adds.
#[derive(Default)]
pub struct Plan {
    /// By their numbers.
    pub functions: Vec<Function>,
    pub events: Vec<Event>,
    pub probes: Vec<UserProbe>,
}

/// A function that is traced.
pub struct Function {
    pub name: String,
    pub binary: PathBuf,
    pub arguments: Vec<(String, ValueType)>,
    pub result: ValueType,
}

/// An event that several functions share.
pub struct Event {
    pub name: String,
    pub moment: Moment,
    /// The kernel's types of what it records, beside the number of the function.
    types: Vec<&'static str>,
}

/// When an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Call,
    Return,
}

/// The field with the number of the function.
pub const FUNCTION_FIELD: &str = "function";

/// A string behind several others, which shows whether one of them has taken its room.
///
/// The kernel makes room for all strings of a call together, and none for one that is too long. Then it fills the room one
/// by one: of that one as much as there is room for all, and nothing of those after it.
pub const GUARD_FIELD: &str = "guard";
/// The name of the thread: never too long, and never nothing.
const GUARD: &str = "$comm:string";

impl Event {
    /// Whether it has a guard.
    pub fn is_guarded(&self) -> bool {
        is_guarded(&self.types)
    }

    /// The fields that hold the values, in order.
    pub fn value_fields(&self) -> impl Iterator<Item = String> {
        (0..self.types.len()).map(value_field)
    }
}

impl Plan {
    /// # Errors
    ///
    /// What is to be recorded of a function cannot be.
    pub fn new(places: &[Place], prototypes: &[Prototype], with_returns: bool) -> Result<Self> {
        let mut plan = Self::default();
        let mut used = vec![false; prototypes.len()];
        for place in places {
            let about = prototypes.iter().rposition(|prototype| prototype.is_about(&place.symbols));
            about.into_iter().for_each(|index| used[index] = true);
            plan.add(place, about.map(|index| &prototypes[index]), with_returns)?;
        }
        match used.iter().position(|used| !used) {
            Some(index) => Err(unused(&prototypes[index], places)),
            None => Ok(plan),
        }
    }

    fn add(&mut self, place: &Place, prototype: Option<&Prototype>, with_returns: bool) -> Result<()> {
        let arguments = prototype.map(|prototype| prototype.arguments.as_slice()).unwrap_or_default();
        let result = prototype.and_then(|prototype| prototype.result);
        let name = display_name(&place.symbols[0], LONGEST_NAME);
        if result.is_some() && !with_returns {
            return Err(HookError::usage(format!("the result of '{name}' is known with --return only")));
        }
        if with_returns && place.is_in_go_file {
            return Err(HookError::usage(format!(
                "--return would crash {}: Go moves its stacks, and with them the return addresses that the kernel replaces",
                place.binary.path.display()
            )));
        }
        let fetches =
            arguments.iter().map(|argument| fetches(argument, place, &name)).collect::<Result<Vec<_>>>()?;
        self.add_probe(place, Moment::Call, fetches.concat());
        let result = result.unwrap_or(ValueType::UNKNOWN);
        if with_returns {
            self.add_probe(place, Moment::Return, result.fetches("$retval"));
        }
        let arguments = arguments.iter().map(|argument| (argument.name.clone(), argument.value)).collect();
        self.functions.push(Function { name, binary: place.binary.path.clone(), arguments, result });
        Ok(())
    }

    fn add_probe(&mut self, place: &Place, moment: Moment, fetches: Vec<(String, &'static str)>) {
        let number = self.functions.len();
        let values = fetches.iter().enumerate();
        let values =
            values.map(|(n, (fetch, kernel_type))| format!("{}={fetch}:{kernel_type}", value_field(n)));
        let types: Vec<&'static str> = fetches.iter().map(|(_, kernel_type)| *kernel_type).collect();
        let guard = is_guarded(&types).then(|| format!("{GUARD_FIELD}={GUARD}"));
        let number = [format!("{FUNCTION_FIELD}=\\{number}:u32")];
        let arguments = number.into_iter().chain(values).chain(guard).collect();
        let event = self.event(moment, types);
        self.probes.push(UserProbe {
            event,
            returns: moment == Moment::Return,
            file: place.binary.link.clone(),
            offset: place.offset,
            arguments,
        });
    }

    /// The event for what has these types: all places of an event must agree in them.
    fn event(&mut self, moment: Moment, types: Vec<&'static str>) -> String {
        if let Some(event) = self.events.iter().find(|event| event.moment == moment && event.types == types) {
            return event.name.clone();
        }
        let kind = if moment == Moment::Call { "call" } else { "return" };
        let name = format!("{kind}{}", self.events.len());
        self.events.push(Event { name: name.clone(), moment, types });
        name
    }
}

fn is_guarded(types: &[&str]) -> bool {
    types.iter().filter(|kernel_type| **kernel_type == KERNEL_STRING).count() > 1
}

fn value_field(number: usize) -> String {
    format!("value{number}")
}

fn fetches(argument: &Argument, place: &Place, function: &str) -> Result<Vec<(String, &'static str)>> {
    let from = match &argument.source {
        Source::Fetch(fetch) => fetch.clone(),
        Source::Number(number) => {
            let convention = place.convention();
            convention.argument(*number).ok_or_else(|| uncounted(convention, *number, function))?
        }
    };
    Ok(argument.value.fetches(&from))
}

/// Why it is not known where the argument with this number is.
fn uncounted(convention: Convention, number: usize, function: &str) -> HookError {
    let argument = number + 1;
    HookError::usage(match convention {
        Convention::Unknown => format!(
            "'{function}' is none of Go's own functions, and where another one of a Go program has argument {argument} cannot be \
             told: give it as NAME: TYPE = FETCH; in C, FETCH is {}",
            Convention::C.argument(number).unwrap_or_default(),
        ),
        Convention::C | Convention::Go => {
            format!(
                "argument {argument} of '{function}' is in no register, and a Go program's stack cannot be told"
            )
        }
    })
}

fn unused(prototype: &Prototype, places: &[Place]) -> HookError {
    let names: Vec<_> = places
        .iter()
        .flat_map(|place| place.symbols.iter().map(|symbol| display_name(symbol, LONGEST_NAME)))
        .collect();
    let function = prototype.function.as_ref().map_or("", |function| &function.text);
    let hint = did_you_mean(function, &names);
    HookError::usage(format!(
        "--args {} is for none of the functions that --function names{hint}",
        quoted(&prototype.text)
    ))
}
