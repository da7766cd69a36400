//! Breaks the rule that `FAULT` in the environment names, such as `help` or `name=a/b`. Without the variable, it breaks none.
//!
//! Its second hook conforms to all rules.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use trace_hook_api::{
    Cleanup, Environment, Format, Hook, HookError, HookInfo, LineBuffer, Origin, Param, Progress, Request,
    Result, Session, Stats, export_plugin,
};

/// The value of this fault, if the variable names it.
fn fault(name: &str) -> Option<String> {
    let fault = std::env::var("FAULT").unwrap_or_default();
    let (fault, value) = fault.split_once('=').unwrap_or((&fault, ""));
    (fault == name).then(|| value.to_owned())
}

fn has(name: &str) -> bool {
    fault(name).is_some()
}

struct NonconformingLines;

impl Hook for NonconformingLines {
    fn info(&self) -> HookInfo {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        let summary = fault("summary").unwrap_or_else(|| "Breaks a rule, for tests".to_owned());
        let mut info = HookInfo::new(name(), summary).param(param());
        if has("long details") {
            info = info.details("x".repeat(10 << 20));
        }
        if has("large details") {
            info = info.details("x".repeat(3 << 20));
        }
        if has("json") || has("no json") {
            info = info.formats([Format::Text, Format::Json]);
        }
        if has("view") || has("no view") {
            info = info.honours_view();
        }
        if has("fickle") {
            info = info.details(format!("I was asked {calls} times."));
        }
        if let Some(details) = fault("details") {
            info = info.details(details);
        }
        if has("required") {
            info = info.param(Param::text("word", "WORD", "a word").required());
        }
        if has("required default") {
            info = info.param(Param::text("word", "WORD", "a word").required().default("hush"));
        }
        info
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        if has("slow probe") {
            std::thread::sleep(Duration::from_millis(1_200));
        }
        match fault("reason") {
            Some(reason) => Err(HookError::new(reason)),
            None => Ok(()),
        }
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        if has("start") {
            return Err(HookError::new("it will not start"));
        }
        if has("thread") {
            std::thread::spawn(|| {
                loop {
                    std::thread::park()
                }
            });
        }
        if has("descriptor") {
            std::mem::forget(File::open("/dev/null")?);
        }
        if has("child") {
            std::mem::forget(std::process::Command::new("sleep").arg("2").spawn()?);
        }
        if has("instance") {
            fs::create_dir(
                request.environment.sysfs.join("kernel/tracing/instances").join(&request.session),
            )?;
        }
        if has("probe") {
            let list = request.environment.sysfs.join("kernel/tracing/uprobe_events");
            let probe = format!("p:{}/call /proc/self/exe:0x40\n", request.session);
            File::options().append(true).open(list)?.write_all(probe.as_bytes())?;
        }
        let in_json = request.format == Format::Json && !has("no json");
        Ok(Box::new(Lines { in_json, ..Lines::of(request, false)? }))
    }
}

fn name() -> String {
    if has("long name") {
        return "x".repeat(1 << 20);
    }
    if has("wild name") {
        // SAFETY: none: a name that is not UTF-8 is the fault to test. Nothing here reads the text.
        return unsafe { String::from_utf8_unchecked(b"wild\xff\x9b".to_vec()) };
    }
    fault("name").unwrap_or_else(|| "nonconforming_lines".to_owned())
}

fn param() -> Param {
    let help = fault("help").unwrap_or_else(|| "no effect".to_owned());
    let param = Param::text(fault("param").unwrap_or_else(|| "mood".to_owned()), "MOOD", help);
    match fault("short") {
        Some(short) => param.short(short.chars().next().unwrap_or_default()),
        None => param,
    }
}

struct ValidLines;

impl Hook for ValidLines {
    fn info(&self) -> HookInfo {
        HookInfo::new("valid_lines", "Conforms to all rules, for tests")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        Ok(Box::new(Lines::of(request, true)?))
    }
}

struct Lines {
    conforms: bool,
    in_json: bool,
    emitted: u64,
    stopped: bool,
    /// The procfs directories of the traced processes.
    traced: Vec<PathBuf>,
    always_readable: File,
}

impl Lines {
    fn of(request: &Request, conforms: bool) -> Result<Self> {
        let procfs = &request.environment.procfs;
        let traced = request.tasks.pids.iter().map(|pid| procfs.join(pid.to_string())).collect();
        let always_readable = File::open("/dev/zero")?;
        Ok(Self { conforms, in_json: false, emitted: 0, stopped: false, traced, always_readable })
    }

    fn has(&self, name: &str) -> bool {
        !self.conforms && has(name)
    }
}

impl Session for Lines {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        if self.has("slow read") {
            std::thread::sleep(Duration::from_millis(300));
        }
        while self.emitted < 3 && !self.has("silent") {
            self.emitted += 1;
            let number = self.emitted;
            if self.has("view") && !lines.passes(&Origin::at(number), "line", |line| line) {
                continue;
            }
            lines.push(match self.in_json {
                true => format!("{{\"line\": {number}}}"),
                false => format!("nonconforming: line {number}"),
            });
        }
        if self.has("read") {
            return Err(HookError::new("it cannot be read"));
        }
        if self.has("panic") {
            panic!("no way out");
        }
        if let Some(line) = fault("line").filter(|_| !self.conforms) {
            lines.push(line);
        }
        if self.has("latin") {
            lines.push(b"caf\xe9");
        }
        let all_have_ended = !self.traced.iter().any(|process| process.exists()) && !self.has("deaf");
        Ok(match all_have_ended || self.stopped && !self.has("endless") {
            true => Progress::Finished,
            false => Progress::Idle,
        })
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.has("wakes").then(|| self.always_readable.as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        if self.has("stop") { Err(HookError::new("it will not stop")) } else { Ok(()) }
    }

    fn stats(&self) -> Result<Stats> {
        let recorded = if self.has("stats") { self.emitted + 4 } else { self.emitted };
        Ok(Stats::new(recorded, Default::default()))
    }

    fn close(&mut self) -> Result<()> {
        if self.has("close") { Err(HookError::new("something is left")) } else { Ok(()) }
    }
}

struct Sweeper;

impl Cleanup for Sweeper {
    fn sweep(&self, _: &Environment) -> Result<()> {
        if has("sweep") { Err(HookError::new("it is not swept")) } else { Ok(()) }
    }

    fn reset(&self, _: &Environment) -> Result<()> {
        Ok(())
    }
}

export_plugin!(NonconformingLines, ValidLines; cleanup = Sweeper);
