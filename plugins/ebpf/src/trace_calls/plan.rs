//! What the programs read of each call: `struct plan` in `bpf/calls.bpf.c`.

use trace_ebpf::aya::Pod;
use trace_ebpf::aya::maps::{Array, MapData};
use trace_hook_api::Result;
use trace_syscalls::pointees::{Content, Count, Pointee, When, may_return_descriptor, pointees};
use trace_syscalls::{Abi, Parameter, never_returns, prototype};

/// The calls of each interface (`MOST_CALLS` in calls.h).
pub const MOST_CALLS: usize = 1024;
/// The steps of a plan (`MOST_READS`).
const MOST_STEPS: usize = 16;
/// Stands for the result where the number of an argument is expected (`RESULT`).
const RESULT: u8 = 6;
/// The argument points to the number (`BY_POINTER`).
const BY_POINTER: u8 = 8;
/// There is no number (`NO_COUNT`).
const NO_COUNT: u8 = 255;

// The flags of a plan.
const WANTED: u32 = 1;
const NEVER_RETURNS: u32 = 2;
const REPLACES_MEMORY: u32 = 4;
const FORKS: u32 = 8;

// The kinds of steps, in the order of `enum kind`.
const STRING: u8 = 0;
const BYTES: u8 = 1;
const DESCRIPTOR: u8 = 2;
const DESCRIPTORS: u8 = 3;
const STRINGS: u8 = 4;
const COUNT: u8 = 5;
const BUFFERS: u8 = 6;
const MESSAGE: u8 = 7;
const DESCRIPTOR_SET: u8 = 8;

/// The longest path and its NUL, and a byte that shows that a path is longer.
const PATH: u16 = 4097;
/// The most bytes of an array, a structure or an address.
const ARRAY: u16 = 1024;

/// A call, as far as this session shows it.
pub struct Call {
    /// Its name, if it is known.
    pub name: Option<&'static str>,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// What the programs read for it, in the order of the steps.
    pub reads: Vec<Read>,
}

/// What a step of a plan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The index of its parameter; `None` for the result.
    pub parameter: Option<usize>,
    pub pointee: Pointee,
    /// Only the descriptors in what another step reads.
    pub is_descriptors: bool,
}

/// `struct step`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    kind: u8,
    argument: u8,
    when: u8,
    count_from: u8,
    unit: u16,
    most: u16,
}

/// `struct plan`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    flags: u32,
    steps: u32,
    step: [Step; MOST_STEPS],
}

// SAFETY: a C structure of integers without padding, for which all bit patterns are valid.
unsafe impl Pod for Plan {}

/// The calls of both interfaces, by number.
pub struct Calls {
    native: Vec<Call>,
    compat: Vec<Call>,
}

impl Calls {
    /// All calls that are known.
    pub fn all() -> Self {
        Self { native: of(Abi::Native), compat: of(Abi::Compat) }
    }

    /// The call of this number.
    pub fn get(&self, number: u32, is_compat: bool) -> &Call {
        let calls = if is_compat { &self.compat } else { &self.native };
        calls.get(number as usize).unwrap_or(&NO_CALL)
    }

    /// Gives the plans to the programs. Only calls that are `wanted` are recorded; of their strings, this many bytes are read.
    ///
    /// # Errors
    ///
    /// The kernel refuses an entry.
    pub fn enter(
        &self,
        plans: &mut Array<MapData, Plan>,
        wanted: impl Fn(Option<&str>) -> bool,
        string_size: u16,
    ) -> Result<()> {
        for (number, call) in (0..).zip(self.native.iter().chain(&self.compat)) {
            if wanted(call.name) {
                plans.set(number, call.plan(string_size), 0)?;
            }
        }
        Ok(())
    }
}

static NO_CALL: Call = Call { name: None, parameters: &[], reads: Vec::new() };

fn of(abi: Abi) -> Vec<Call> {
    (0..MOST_CALLS as u32).map(|number| Call::of(abi.name(number), abi == Abi::Compat)).collect()
}

impl Call {
    fn of(name: Option<&'static str>, is_compat: bool) -> Self {
        let known = name.and_then(|name| Some((name, prototype(name)?)));
        let Some((name, prototype)) = known else { return Self { name, ..NO_CALL_HERE } };
        let mut reads = Vec::new();
        for (index, parameter) in prototype.parameters.iter().enumerate() {
            for pointee in pointees(prototype, parameter, name, is_compat) {
                let read = Read { parameter: Some(index), pointee, is_descriptors: false };
                reads.push(read);
                if holds_descriptors(&pointee) {
                    reads.push(Read { is_descriptors: true, ..read });
                }
            }
        }
        if may_return_descriptor(name) {
            let pointee = Pointee { content: Content::Descriptor, when: When::Return, count: Count::One };
            reads.push(Read { parameter: None, pointee, is_descriptors: false });
        }
        reads.truncate(MOST_STEPS);
        Self { name: Some(name), parameters: &prototype.parameters, reads }
    }

    fn plan(&self, string_size: u16) -> Plan {
        let mut plan = Plan { flags: WANTED, steps: self.reads.len() as u32, ..Plan::default() };
        for (step, read) in plan.step.iter_mut().zip(&self.reads) {
            *step = read.step(string_size);
        }
        plan.flags |= match self.name {
            Some("execve" | "execveat") => REPLACES_MEMORY,
            Some("clone" | "clone3" | "fork" | "vfork") => FORKS,
            Some(name) if never_returns(name) => NEVER_RETURNS,
            _ => 0,
        };
        plan
    }
}

/// Whether what these descriptors are is to be read as well: those that the program gives.
fn holds_descriptors(pointee: &Pointee) -> bool {
    pointee.when == When::Entry
        && match pointee.content {
            Content::Structures(layout) => layout.begins_with_descriptor(),
            Content::DescriptorSet => true,
            _ => false,
        }
}

const NO_CALL_HERE: Call = Call { name: None, parameters: &[], reads: Vec::new() };

impl Read {
    fn step(&self, string_size: u16) -> Step {
        let (kind, unit, most) = self.extent(string_size);
        let count_from = match self.pointee.count {
            Count::One | Count::Fixed(_) => NO_COUNT,
            Count::Argument(index) => index,
            Count::Result => RESULT,
            Count::At(index) => BY_POINTER | index,
        };
        let times = if let Count::Fixed(times) = self.pointee.count { times.into() } else { 1 };
        let when = match self.pointee.when {
            When::Entry => 0,
            When::Return => 1,
            When::AnyReturn => 2,
            When::Interrupted => 3,
        };
        let argument = self.parameter.map_or(RESULT, |index| index as u8);
        Step { kind, argument, when, count_from, unit: unit * times, most }
    }

    /// The kind of the step, the size of a unit, and the most bytes.
    fn extent(&self, string_size: u16) -> (u8, u16, u16) {
        // A NUL, and a byte that shows that the text is longer.
        let text = string_size + 2;
        match self.pointee.content {
            Content::Structures(layout) if self.is_descriptors => (DESCRIPTORS, layout.size, 0),
            Content::DescriptorSet if self.is_descriptors => (DESCRIPTOR_SET, 1, 0),
            Content::Path => (STRING, 1, PATH),
            Content::Text => (STRING, 1, text),
            Content::Bytes => (BYTES, 1, string_size),
            Content::Texts => (STRINGS, 1, text),
            Content::TextCount => (COUNT, 1, 0),
            Content::Structure(layout) => (BYTES, layout.shown_size(), layout.shown_size()),
            Content::Structures(layout) => (BYTES, layout.size, ARRAY / layout.size * layout.size),
            Content::Buffers => (BUFFERS, 1, string_size),
            Content::Message => (MESSAGE, 1, string_size),
            Content::SocketAddress => (BYTES, 1, 128),
            Content::Numbers(size, _) => (BYTES, size.into(), 32 * u16::from(size)),
            // pipe(2) and socketpair(2) give two.
            Content::Descriptors => (DESCRIPTORS, 4, 2),
            Content::DescriptorSet => (BYTES, 0, 128),
            Content::Signals | Content::Cpus => (BYTES, 1, 128),
            Content::ChildStatus => (BYTES, 4, 4),
            Content::Descriptor => (DESCRIPTOR, 1, 0),
            _ => (BYTES, 1, string_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_plan_has_too_many_steps() {
        for call in of(Abi::Native).iter().chain(&of(Abi::Compat)) {
            assert!(call.reads.len() < MOST_STEPS, "{:?}", call.name);
        }
    }

    #[test]
    fn plan_says_what_is_read_when() {
        let calls = Calls::all();
        let call = |name: &str| calls.get(Abi::Native.number(name).unwrap() as u32, false);
        let plan = call("openat").plan(32);
        let step =
            |kind, argument, when, most| Step { kind, argument, when, count_from: NO_COUNT, unit: 1, most };
        assert_eq!(plan.steps, 3);
        assert_eq!(
            plan.step[..3],
            [step(DESCRIPTOR, 0, 0, 0), step(STRING, 1, 0, PATH), step(DESCRIPTOR, RESULT, 1, 0)]
        );
        let read = call("read").plan(10).step[1];
        assert_eq!(read, Step { kind: BYTES, argument: 1, when: 1, count_from: RESULT, unit: 1, most: 10 });
        assert_eq!(call("execve").plan(1).flags, WANTED | REPLACES_MEMORY);
        assert_eq!(call("exit_group").plan(1).flags, WANTED | NEVER_RETURNS);
    }
}
