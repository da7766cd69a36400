//! Turns waits into lines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_ebpf::{Intake, RecordRenderer};
use trace_hook_api::{LineBuffer, Request, Result};
use trace_stacks::{Folded, Frame, KERNEL_MARKER, Modules, Observer, Symbolizer, USER_MARKER};

use super::contention::Contention;
use super::mapped_code::{Code, CodeReader, LONGEST_READ, MappedCode};
use super::record::{Memory, Wait, lost_before, mapped_code};
use super::show;

/// How long after the stop waits are held back until symbols are read.
const SYMBOL_WAIT_AFTER_STOP: Duration = Duration::from_secs(1);

/// `MOST_FRAMES` of `bpf/offcpu.bpf.c`.
const MOST_FRAMES: usize = 127;

/// The function that gives the CPU to another task. What it calls is our own program.
const SCHEDULE: &str = "__schedule";
/// How deep our program is in it, at most.
const MOST_OF_PROGRAM: usize = 12;

/// Which lines are made of the waits.
pub enum Output {
    /// A line for each wait.
    Waits,
    /// At intervals, a line for each different stack.
    Folded(Folded),
    /// At intervals, a line for each futex and place.
    Contention(Contention),
}

/// Names the stacks of waits, and shows or counts them.
pub struct OffcpuRenderer {
    output: Output,
    code: Arc<MappedCode>,
    modules: Arc<Modules>,
    observer: Arc<Observer<Memory>>,
    symbolizer: Symbolizer,
    /// The most addresses in a stack.
    depth: usize,
    stopped: Option<Instant>,
    /// The stack of the wait that was found to be ready.
    frames: Option<Vec<Frame>>,
}

impl OffcpuRenderer {
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(request: &Request, output: Output) -> Result<Self> {
        let environment = &request.environment;
        let fallback_processes = request.tasks.pids.iter().chain(&request.tasks.parents).copied().collect();
        let modules = Arc::new(Modules::new(environment, fallback_processes, request.spool_size));
        let code = Arc::<MappedCode>::default();
        let reader = CodeReader { code: Arc::clone(&code), modules: Arc::clone(&modules) };
        let observer = Arc::new(Observer::start(environment, reader, Arc::clone(&modules))?);
        let has_kernel_frames = !matches!(output, Output::Contention(_));
        let symbolizer = Symbolizer::new(&environment.procfs, has_kernel_frames);
        let depth = symbolizer.depth().min(MOST_FRAMES);
        Ok(Self { output, code, modules, observer, symbolizer, depth, stopped: None, frames: None })
    }

    /// The names of a stack. `None` if they are still being read.
    fn resolve(&mut self, wait: &Wait<'_>) -> Option<Vec<Frame>> {
        let may_wait = self.stopped.is_none_or(|stopped| stopped.elapsed() < SYMBOL_WAIT_AFTER_STOP);
        let code = match self.code.of(wait.memory) {
            _ if wait.user_stack.is_empty() => None,
            Code::Reading(since) if may_wait && since.elapsed() < LONGEST_READ => return None,
            Code::Known(code) => Some(code),
            Code::Reading(_) | Code::Unknown => None,
        };
        let mut stack = Vec::with_capacity(2 + wait.kernel_stack.len() + wait.user_stack.len());
        if !matches!(self.output, Output::Contention(_)) {
            stack.push(KERNEL_MARKER.to_ne_bytes());
            stack.extend_from_slice(wait.kernel_stack);
        }
        stack.push(USER_MARKER.to_ne_bytes());
        stack.extend_from_slice(wait.user_stack);
        let is_cut = wait.user_stack.len() >= self.depth;
        let mut frames = self.symbolizer.resolve_parts(&stack, code.as_deref(), may_wait, is_cut)?;
        let own = frames.iter().take(MOST_OF_PROGRAM).position(|frame| frame.name.starts_with(SCHEDULE));
        frames.drain(..own.unwrap_or(0));
        Some(frames)
    }
}

impl RecordRenderer for OffcpuRenderer {
    fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
        lost_before(bytes)
    }

    fn intake(&self) -> Intake {
        let (code, observer) = (Arc::clone(&self.code), Arc::clone(&self.observer));
        Box::new(move |bytes| {
            if let Some(memory) = mapped_code(bytes) {
                if code.expect(memory) {
                    observer.read_tasks(memory);
                }
                return None;
            }
            lost_before(bytes)
        })
    }

    fn is_ready(&mut self, bytes: &[u8]) -> bool {
        let Some(wait) = Wait::of(bytes) else { return true };
        if matches!(self.output, Output::Contention(_)) && wait.futex.is_none() {
            return true;
        }
        self.frames = self.resolve(&wait);
        self.frames.is_some()
    }

    fn record(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool {
        let Some(wait) = Wait::of(bytes) else { return false };
        let frames = self.frames.take().unwrap_or_default();
        match &mut self.output {
            Output::Waits => show::show(&wait, &frames, lines),
            Output::Folded(folded) => folded.add(wait.comm, frames, wait.duration),
            Output::Contention(contention) => contention.add(&wait, &frames),
        }
        true
    }

    fn write_due(&mut self, lines: &mut LineBuffer, is_end: bool) -> bool {
        match &mut self.output {
            Output::Waits => false,
            Output::Folded(folded) => {
                folded.write(lines, is_end);
                !folded.is_written(is_end)
            }
            Output::Contention(contention) => contention.write(lines, is_end),
        }
    }

    fn stopped(&mut self) {
        self.stopped = Some(Instant::now());
    }

    fn warnings(&self) -> Vec<String> {
        self.modules.left_out().into_iter().collect()
    }
}
