//! Gives the frames of stacks their names.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use trace_symbols::{KernelFunction, KernelSymbols};

use crate::code_map::{CodeMap, CodePlace};
use crate::demangler::Demangler;
use crate::modules::{BRIEF_WAIT, Module};

/// From here on, a number in a stack is not an address but a marker: it says whether kernel or user addresses follow
/// (`PERF_CONTEXT_MAX`).
const FIRST_MARKER: u64 = -4095_i64 as u64;

/// Before the kernel's addresses of a stack (`PERF_CONTEXT_KERNEL` in linux/perf_event.h).
pub const KERNEL_MARKER: u64 = -128_i64 as u64;
/// Before the program's addresses of a stack (`PERF_CONTEXT_USER`).
pub const USER_MARKER: u64 = -512_i64 as u64;

/// The suffix of kernel functions, as in flame graphs.
const KERNEL_SUFFIX: &str = "_[k]";
const UNKNOWN: &str = "[unknown]";
/// Stands for the outermost frames of a stack that the kernel has cut.
const TRUNCATED: &str = "[truncated]";
/// The kernel's default for the depth of stacks (`PERF_MAX_STACK_DEPTH`).
const USUAL_DEPTH: usize = 127;

/// Longer names are cut, in characters: those of C++ templates can have any length.
const MAX_NAME: usize = 512;

/// How many names are cached, and how long they are together. A program can have any number of addresses and long names.
const MAX_CACHED: usize = 50_000;
const MAX_CACHED_BYTES: usize = 8 << 20;

/// Translates the addresses of stacks to names.
#[derive(Debug)]
pub struct Symbolizer {
    kernel: KernelSymbols,
    /// Whether an address in the kernel of the last stack has no name, but may have one soon.
    may_be_named_soon: bool,
    /// The most addresses in a stack.
    depth: usize,
    kernel_names: NameCache<u64, Frame>,
    /// By the address of the module and the offset in it. The module is kept beside the name, so that its address is not
    /// reused.
    names: NameCache<(usize, u64), (Arc<Module>, Frame)>,
    demangler: Demangler,
}

/// Names that were needed before.
#[derive(Debug)]
struct NameCache<K, V> {
    names: HashMap<K, V>,
    bytes: usize,
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function; if it is not known, `[libc.so.6+0x1234]`; if the file is not known either, `[unknown]`.
    pub name: Arc<str>,
    /// The same, but without the offset: `[libc.so.6]`.
    pub short: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Kernel,
    User,
    /// Of a virtual machine or a hypervisor.
    Other,
}

impl Symbolizer {
    /// Names functions of the kernel if there are any in the stacks.
    pub fn new(procfs: &Path, has_kernel_frames: bool) -> Self {
        Self {
            kernel: if has_kernel_frames { KernelSymbols::read(procfs) } else { KernelSymbols::default() },
            may_be_named_soon: false,
            depth: greatest_depth(procfs),
            kernel_names: NameCache::default(),
            names: NameCache::default(),
            demangler: Demangler::default(),
        }
    }

    /// The most addresses in a stack of the kernel's.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The frames of the stack of a sample, the innermost first. There is at least one.
    ///
    /// `None`, if symbols are still being read and the caller `may_wait` for them.
    pub fn resolve(
        &mut self,
        stack: &[[u8; 8]],
        code: Option<&CodeMap>,
        may_wait: bool,
    ) -> Option<Vec<Frame>> {
        let addresses =
            stack.iter().filter(|address| context_marker(u64::from_ne_bytes(**address)).is_none());
        let is_cut = addresses.count() >= self.depth;
        let frames = self.resolve_parts(stack, code, may_wait, is_cut)?;
        let waits = may_wait && self.may_be_named_soon && self.kernel.wait_for_update(BRIEF_WAIT);
        (!waits).then_some(frames)
    }

    /// The same for a stack of which it is known whether it `is_cut`, without waiting for names of BPF programs and modules that were loaded
    /// a moment ago.
    pub fn resolve_parts(
        &mut self,
        stack: &[[u8; 8]],
        code: Option<&CodeMap>,
        may_wait: bool,
        is_cut: bool,
    ) -> Option<Vec<Frame>> {
        if self.kernel.update() {
            self.kernel_names = NameCache::default();
        }
        let (mut context, mut is_return) = (Context::Other, false);
        self.may_be_named_soon = false;
        let mut frames = Vec::with_capacity(stack.len());
        let (mut loading, mut generating) = (None, None);
        for address in stack.iter().copied().map(u64::from_ne_bytes) {
            if let Some(next) = context_marker(address) {
                (context, is_return) = (next, false);
                continue;
            }
            // All but the innermost address of a context are return addresses, which can belong to the next function if the
            // call is the last instruction.
            let address = address.saturating_sub(std::mem::replace(&mut is_return, true).into());
            match (context, code.and_then(|code| code.at(address))) {
                (Context::Kernel, _) => {
                    let (frame, may_be_named) = self.kernel(address);
                    self.may_be_named_soon |= may_be_named;
                    frames.push(frame);
                }
                (Context::User, Some(CodePlace { module, offset })) => {
                    if let Some(code) = &module.generated {
                        let function = code.function(address);
                        if code.refresh() && may_wait && function.is_none() {
                            generating = Some(code);
                        }
                        if let Some(symbol) = function {
                            frames.push(self.function(module, &symbol));
                            continue;
                        }
                    }
                    // No early return: the symbols of all modules are read at the same time.
                    if may_wait && module.start_loading() {
                        loading = Some(module);
                    }
                    frames.push(self.program(module, offset));
                }
                (Context::User, None) => frames.push(Frame::of(UNKNOWN.into())),
                (Context::Other, _) => {}
            }
        }
        if let Some(module) = loading {
            module.wait_briefly();
            return None;
        }
        if let Some(code) = generating {
            code.wait_briefly();
            return None;
        }
        if frames.is_empty() {
            frames.push(Frame::of(UNKNOWN.into()));
        } else if is_cut {
            frames.push(Frame::of(TRUNCATED.into()));
        }
        Some(frames)
    }

    /// The frame of an address in the kernel, and whether it has no name, but may have one soon.
    fn kernel(&mut self, address: u64) -> (Frame, bool) {
        if let Some(frame) = self.kernel_names.get(&address) {
            return (frame.clone(), false);
        }
        let may_change = self.kernel.may_change(address);
        let function = self.kernel.function(address);
        let (is_unknown, frame) = (function.is_none(), Frame::in_kernel(function));
        if !may_change {
            self.kernel_names.insert(address, frame.clone(), frame.name.len());
        }
        (frame, may_change && is_unknown)
    }

    fn program(&mut self, module: &Arc<Module>, offset: u64) -> Frame {
        let key = (Arc::as_ptr(module).addr(), offset);
        if let Some((_, frame)) = self.names.get(&key) {
            return frame.clone();
        }
        let is_loaded = module.is_loaded();
        let frame = self.frame(module, offset);
        if is_loaded {
            self.names.insert(key, (Arc::clone(module), frame.clone()), frame.name.len());
        }
        frame
    }

    fn function(&mut self, module: &Module, symbol: &str) -> Frame {
        Frame::of(self.demangler.display_name(symbol, &module.demangling, MAX_NAME).into())
    }

    fn frame(&mut self, module: &Module, offset: u64) -> Frame {
        match module.function(offset) {
            Some(symbol) => self.function(module, &symbol),
            None if module.is_file => Frame {
                name: format!("[{}+{offset:#x}]", module.name).into(),
                short: format!("[{}]", module.name).into(),
            },
            None => Frame::of(UNKNOWN.into()),
        }
    }
}

impl Frame {
    fn of(name: Arc<str>) -> Self {
        Self { short: Arc::clone(&name), name }
    }

    fn in_kernel(function: Option<KernelFunction<'_>>) -> Self {
        let name = match function {
            Some(KernelFunction { name, module: None }) => format!("{name}{KERNEL_SUFFIX}"),
            Some(KernelFunction { name, module: Some(module) }) => {
                format!("{name} [{module}]{KERNEL_SUFFIX}")
            }
            None => format!("{UNKNOWN}{KERNEL_SUFFIX}"),
        };
        Self::of(name.into())
    }
}

/// The setting kernel.perf_event_max_stack (Documentation/admin-guide/sysctl/kernel.rst). Markers do not count.
fn greatest_depth(procfs: &Path) -> usize {
    let setting = fs::read_to_string(procfs.join("sys/kernel/perf_event_max_stack"));
    setting.ok().and_then(|depth| depth.trim().parse().ok()).unwrap_or(USUAL_DEPTH)
}

fn context_marker(number: u64) -> Option<Context> {
    match number {
        ..FIRST_MARKER => None,
        KERNEL_MARKER => Some(Context::Kernel),
        USER_MARKER => Some(Context::User),
        _ => Some(Context::Other),
    }
}

impl<K: Eq + Hash, V> NameCache<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.names.get(key)
    }

    /// Adds a name of this length.
    fn insert(&mut self, key: K, name: V, length: usize) {
        if self.names.len() >= MAX_CACHED || self.bytes >= MAX_CACHED_BYTES {
            *self = Self::default();
        }
        self.names.insert(key, name);
        self.bytes += length;
    }
}

impl<K, V> Default for NameCache<K, V> {
    fn default() -> Self {
        Self { names: HashMap::new(), bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_testkit::SyntheticKernel;

    use super::*;

    #[test]
    fn the_number_of_cached_names_and_their_length_are_bounded() {
        let mut names = NameCache::default();
        (0..MAX_CACHED).for_each(|number| names.insert(number, number, 1));
        assert_eq!((names.get(&0), names.names.len()), (Some(&0), MAX_CACHED));
        names.insert(MAX_CACHED, 0, MAX_CACHED_BYTES);
        assert_eq!((names.get(&0), names.names.len()), (None, 1));
        names.insert(0, 7, 1);
        assert_eq!((names.get(&0), names.bytes), (Some(&7), 1));
    }

    #[test]
    fn return_addresses_belong_to_the_calling_function() {
        let kernel = SyntheticKernel::new().unwrap();
        let kernel = kernel.with_file("proc/kallsyms", "10 T first\n20 T second\n").unwrap();
        let kernel = kernel.with_file("proc/sys/kernel/perf_event_max_stack", "4\n").unwrap();
        let mut symbolizer = Symbolizer::new(&kernel.environment().procfs, true);
        let mut names = |stack: &[u64]| {
            let stack: Vec<_> = stack.iter().map(|number| number.to_ne_bytes()).collect();
            symbolizer
                .resolve(&stack, None, true)
                .unwrap()
                .iter()
                .map(|frame| frame.name.to_string())
                .collect::<Vec<_>>()
        };
        let kernel = KERNEL_MARKER;
        assert_eq!(names(&[kernel, 0x20, 0x20, 0x21]), ["second_[k]", "first_[k]", "second_[k]"]);
        assert_eq!(names(&[USER_MARKER, 5, kernel, 0x20]), [UNKNOWN, "second_[k]"]);
        assert_eq!(names(&[-2048_i64 as u64, 5]), [UNKNOWN]);
        assert_eq!(names(&[]), [UNKNOWN]);
        let second = "second_[k]";
        assert_eq!(names(&[kernel, 0x21, 0x21, 0x21, 0x21]), [second, second, second, second, TRUNCATED]);
    }
}
