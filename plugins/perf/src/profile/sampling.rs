//! How samples are taken.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use perf_event_open_sys::bindings as sys;
use trace_hook_api::{Environment, HookError, Result, log};

use crate::access;
use crate::perf_event::{Attributes, Event, Frames, Kind, Subject};

/// The events that trigger samples: the processor's cycle counter, which also works where interrupts are off, or else the
/// kernel's timer.
const CLOCKS: [Kind; 2] =
    [Kind::Hardware(sys::PERF_COUNT_HW_CPU_CYCLES), Kind::Software(sys::PERF_COUNT_SW_CPU_CLOCK)];

/// The most samples per second that the kernel's timer may trigger. At the 100,000 that the kernel allows, the next timer
/// interrupt of a virtual machine can be due before the last one is handled, and the CPU does nothing else from then on:
/// the kernel measures what samples cost, and takes fewer, with the processor's counter only.
const MOST_OF_TIMER: u64 = 10_000;

/// Which samples are taken.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// Samples per second of a task's CPU time.
    pub hertz: u64,
    pub frames: Frames,
}

impl Sampling {
    /// The attributes of the best event that this machine and the user's privileges allow.
    ///
    /// # Errors
    ///
    /// No such event can be opened: the error of the last attempt. Or these are too many samples for it.
    pub fn attributes(self, environment: &Environment) -> Result<Attributes> {
        check_rate(self.hertz, &environment.procfs)?;
        let attributes = self.best().map_err(|error| access::refused(&error, environment))?;
        match attributes.kind() {
            Kind::Software(_) if self.hertz > MOST_OF_TIMER => Err(HookError::usage(format!(
                "{} samples per second exceed the limit of {MOST_OF_TIMER} for samples that the kernel's timer triggers: this \
                 machine has no cycle counter",
                self.hertz
            ))),
            _ => Ok(attributes),
        }
    }

    fn best(self) -> io::Result<Attributes> {
        let mut refusal = io::Error::from(Errno::ENOENT);
        for clock in CLOCKS {
            let all = Attributes::sampling(clock, self.hertz, self.frames);
            for attributes in [all.counting_losses(), all] {
                // Not enabled: it would sample this process.
                match Event::open(&attributes.disabled(), Subject::Thread(0), None) {
                    Ok(_) => return Ok(attributes),
                    Err(error) => refusal = error,
                }
                let user = attributes.without_kernel();
                if is_forbidden(&refusal)
                    && self.frames != Frames::Kernel
                    && Event::open(&user.disabled(), Subject::Thread(0), None).is_ok()
                {
                    log::warn!("kernel frames are omitted: {refusal}; run as root, or with CAP_PERFMON");
                    return Ok(user);
                }
            }
        }
        Err(refusal)
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Checks that the kernel allows this many samples per second.
///
/// # Errors
///
/// It does not. The message names the limit.
fn check_rate(hertz: u64, procfs: &Path) -> Result<()> {
    let limit = fs::read_to_string(procfs.join("sys/kernel/perf_event_max_sample_rate"));
    let limit = limit.ok().and_then(|limit| limit.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if hertz > limit => Err(HookError::usage(format!(
            "{hertz} samples per second exceed the kernel's limit of {limit} \
             (kernel.perf_event_max_sample_rate)"
        ))),
        _ => Ok(()),
    }
}
