//! How samples are taken.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use perf_event_open_sys::bindings as sys;
use trace_hook_api::{HookError, Result, log};

use crate::perf_event::{Attributes, Event, Frames, Kind};

/// What drives the samples: the processor's own clock, which reaches where interrupts are off, or else the kernel's.
const CLOCKS: [Kind; 2] =
    [Kind::Hardware(sys::PERF_COUNT_HW_CPU_CYCLES), Kind::Software(sys::PERF_COUNT_SW_CPU_CLOCK)];

/// Which samples are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// A second, of the CPU time of a task.
    pub hertz: u64,
    pub frames: Frames,
}

impl Sampling {
    /// The best of this kind that this machine and this user's rights allow.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn attributes(self) -> io::Result<Attributes> {
        let mut refusal = io::Error::from(Errno::ENOENT);
        for clock in CLOCKS {
            let all = Attributes::sampling(clock, self.hertz, self.frames);
            for attributes in [all.counting_losses(), all] {
                match Event::open(&attributes, 0, None) {
                    Ok(_) => return Ok(attributes),
                    Err(error) => refusal = error,
                }
                let user = attributes.without_kernel();
                if is_forbidden(&refusal)
                    && self.frames != Frames::Kernel
                    && Event::open(&user, 0, None).is_ok()
                {
                    log::warn!("the kernel's part is left out: {refusal} (be root, or have CAP_PERFMON)");
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

/// Checks that the kernel allows so many samples a second.
///
/// # Errors
///
/// It does not; the message names the limit.
pub fn check_rate(hertz: u64, procfs: &Path) -> Result<()> {
    let limit = fs::read_to_string(procfs.join("sys/kernel/perf_event_max_sample_rate"));
    let limit = limit.ok().and_then(|limit| limit.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if hertz > limit => Err(HookError::usage(format!(
            "{hertz} samples a second are more than the kernel allows, which is {limit} \
             (kernel.perf_event_max_sample_rate)"
        ))),
        _ => Ok(()),
    }
}
