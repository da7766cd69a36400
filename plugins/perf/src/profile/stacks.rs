//! Stacks with names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use perf_event_open_sys::bindings as sys;
use trace_symbols::{KernelSymbols, display_name};

use super::modules::Module;
use super::processes::Code;

/// From here on a number in a stack is no address, but says whose the addresses after it are (`PERF_CONTEXT_MAX`).
const MARKS: u64 = sys::PERF_CONTEXT_MAX;

/// What marks a function of the kernel, as in flame graphs.
const KERNEL: &str = "_[k]";
const UNKNOWN: &str = "[unknown]";

/// In characters. A longer one is cut: names of templates can grow without end.
const LONGEST_NAME: usize = 512;

/// So many names are remembered; a program that makes code could bring any number.
const MOST: usize = 100_000;

/// Gives the frames of stacks their names.
#[derive(Debug)]
pub struct Stacks {
    kernel: KernelSymbols,
    kernel_names: HashMap<u64, Arc<str>>,
    /// By the module's place in memory, which the module that is kept beside the name keeps from being another's.
    names: HashMap<(usize, u64), (Arc<Module>, Frame)>,
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function; where it is not known `[libc.so.6+0x1234]`, and if nothing is, `[unknown]`.
    pub name: Arc<str>,
    /// The same for all that is not known of a file, such as `[libc.so.6]`.
    pub short: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Kernels,
    Programs,
    /// A guest's or a hypervisor's.
    Others,
}

impl Stacks {
    pub fn new(procfs: &Path) -> Self {
        Self { kernel: KernelSymbols::read(procfs), kernel_names: HashMap::new(), names: HashMap::new() }
    }

    /// The frames of a stack as a sample has it, the innermost first. There is at least one.
    ///
    /// None, if it pays to wait for what is being read, and one `may_wait`.
    pub fn resolve(&mut self, stack: &[[u8; 8]], code: Option<&Code>, may_wait: bool) -> Option<Vec<Frame>> {
        let (mut whose, mut is_return) = (Whose::Others, false);
        let mut frames = Vec::with_capacity(stack.len());
        let mut being_read = None;
        for address in stack.iter().copied().map(u64::from_ne_bytes) {
            if let Some(mark) = mark(address) {
                (whose, is_return) = (mark, false);
                continue;
            }
            // All but the innermost, in the kernel and in the program, are where the call returns to, which may be another
            // function if the call was the last.
            let address = address.saturating_sub(std::mem::replace(&mut is_return, true).into());
            match (whose, code.and_then(|code| code.at(address))) {
                (Whose::Kernels, _) => frames.push(self.kernel(address)),
                (Whose::Programs, Some((module, offset))) => {
                    // All of them at once.
                    if may_wait && module.is_being_read() {
                        being_read = Some(module);
                    }
                    frames.push(self.program(module, offset));
                }
                (Whose::Programs, None) => frames.push(Frame::of(UNKNOWN.into())),
                (Whose::Others, _) => {}
            }
        }
        if let Some(module) = being_read {
            module.wait_a_moment();
            return None;
        }
        if frames.is_empty() {
            frames.push(Frame::of(UNKNOWN.into()));
        }
        Some(frames)
    }

    fn kernel(&mut self, address: u64) -> Frame {
        if let Some(name) = self.kernel_names.get(&address) {
            return Frame::of(Arc::clone(name));
        }
        let name: Arc<str> = format!("{}{KERNEL}", self.kernel.function(address).unwrap_or(UNKNOWN)).into();
        keep_small(&mut self.kernel_names);
        self.kernel_names.insert(address, Arc::clone(&name));
        Frame::of(name)
    }

    fn program(&mut self, module: &Arc<Module>, offset: u64) -> Frame {
        let key = (Arc::as_ptr(module).addr(), offset);
        if let Some((_, frame)) = self.names.get(&key) {
            return frame.clone();
        }
        let is_final = module.is_settled();
        let frame = Frame::in_module(module, offset);
        if is_final {
            keep_small(&mut self.names);
            self.names.insert(key, (Arc::clone(module), frame.clone()));
        }
        frame
    }
}

impl Frame {
    fn of(name: Arc<str>) -> Self {
        Self { short: Arc::clone(&name), name }
    }

    fn in_module(module: &Module, offset: u64) -> Self {
        match module.function(offset) {
            Some(symbol) => Self::of(display_name(&symbol, LONGEST_NAME).into()),
            None if module.is_file => Self {
                name: format!("[{}+{offset:#x}]", module.name).into(),
                short: format!("[{}]", module.name).into(),
            },
            None => Self::of(UNKNOWN.into()),
        }
    }
}

fn mark(number: u64) -> Option<Whose> {
    match number {
        ..MARKS => None,
        sys::PERF_CONTEXT_KERNEL => Some(Whose::Kernels),
        sys::PERF_CONTEXT_USER => Some(Whose::Programs),
        _ => Some(Whose::Others),
    }
}

fn keep_small<K, V>(names: &mut HashMap<K, V>) {
    if names.len() >= MOST {
        names.clear();
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_testkit::MadeUpKernel;

    use super::*;

    #[test]
    fn a_call_may_be_the_last_of_its_function_and_an_interrupt_before_the_first() {
        let kernel = MadeUpKernel::new().unwrap();
        let kernel = kernel.with_file("proc/kallsyms", "10 T first\n20 T second\n").unwrap();
        let mut stacks = Stacks::new(&kernel.environment().procfs);
        let mut names = |stack: &[u64]| {
            let stack: Vec<_> = stack.iter().map(|number| number.to_ne_bytes()).collect();
            stacks
                .resolve(&stack, None, true)
                .unwrap()
                .iter()
                .map(|frame| frame.name.to_string())
                .collect::<Vec<_>>()
        };
        let kernels = sys::PERF_CONTEXT_KERNEL;
        assert_eq!(names(&[kernels, 0x20, 0x20, 0x21]), ["second_[k]", "first_[k]", "second_[k]"]);
        assert_eq!(names(&[sys::PERF_CONTEXT_USER, 5, kernels, 0x20]), [UNKNOWN, "second_[k]"]);
        assert_eq!(names(&[sys::PERF_CONTEXT_GUEST, 5]), [UNKNOWN]);
        assert_eq!(names(&[]), [UNKNOWN]);
    }
}
