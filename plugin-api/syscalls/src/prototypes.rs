//! The parameters of each system call.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::argument_type::{ArgumentType, is_32_bit};
use crate::signature::argument_type;

/// `CALL: C_TYPE NAME, …` with the types and names of the kernel, or `CALL = OTHER_CALL` for one with the same parameters.
const TEXT: &str = include_str!("prototypes.txt");

static PROTOTYPES: LazyLock<HashMap<&str, Prototype>> = LazyLock::new(parse);

/// The parameters of a system call, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prototype {
    /// The call with the same parameters whose name the tables have: `fcntl` for `fcntl64`.
    pub base: &'static str,
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The name that the kernel has for it.
    pub name: &'static str,
    /// Its C type.
    pub c_type: &'static str,
    /// What its number stands for.
    pub argument_type: ArgumentType,
    /// Whether the kernel ignores the upper half of its register.
    pub is_32_bit: bool,
}

/// The parameters of a call of either interface; `None` if they are not known.
///
/// ```
/// let openat = trace_syscalls::prototype("openat").unwrap();
/// let names: Vec<&str> = openat.parameters.iter().map(|parameter| parameter.name).collect();
/// assert_eq!(names, ["dfd", "filename", "flags", "mode"]);
/// ```
pub fn prototype(call: &str) -> Option<&'static Prototype> {
    PROTOTYPES.get(call)
}

fn parse() -> HashMap<&'static str, Prototype> {
    let mut prototypes: HashMap<_, _> = TEXT
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(call, list)| (call, of(call, list)))
        .collect();
    for (call, base) in TEXT.lines().filter_map(|line| line.split_once(" = ")) {
        if let Some(prototype) = prototypes.get(base).cloned() {
            prototypes.insert(call, prototype);
        }
    }
    prototypes
}

fn of(call: &'static str, list: &'static str) -> Prototype {
    let parameter = |text: &'static str| {
        let (c_type, name) = text.rsplit_once(' ')?;
        let argument_type = argument_type(call, name, c_type);
        Some(Parameter { name, c_type, argument_type, is_32_bit: is_32_bit(c_type) })
    };
    let parameters = list.split(',').map(str::trim).filter_map(parameter).collect();
    Prototype { base: call, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Abi;

    #[test]
    fn every_line_is_a_prototype() {
        assert_eq!(PROTOTYPES.len(), TEXT.lines().count());
        assert!(PROTOTYPES.values().all(|prototype| prototype.parameters.len() <= 6));
        let exists = |call: &str| Abi::Native.number(call).or(Abi::Compat.number(call)).is_some();
        let unknown: Vec<&&str> = PROTOTYPES.keys().filter(|call| !exists(call)).collect();
        assert!(unknown.len() < 20, "{unknown:?}");
    }

    #[test]
    fn types_are_those_of_the_tables() {
        let fcntl = prototype("fcntl64").unwrap();
        assert_eq!(fcntl.base, "fcntl");
        assert!(matches!(fcntl.parameters[2].argument_type, ArgumentType::DependsOn { .. }));
    }
}
