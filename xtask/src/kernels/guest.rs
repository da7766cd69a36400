//! One guest: a kernel on an emulated machine.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::initramfs::Initramfs;
use super::machine::Machine;
use super::results::Outcomes;
use crate::children::Guarded;
use crate::error::{Explain, Result};

/// How long a guest may print nothing.
const SILENCE: Duration = Duration::from_secs(300);
/// Its memory holds the root file system.
const MEMORY: &str = "1500";

/// A kernel, and the machine that it is booted on.
#[derive(Clone)]
pub struct Guest {
    pub series: String,
    pub machine: Machine,
    /// How it differs from the usual guest, for the table.
    variant: String,
    cpus: u32,
    /// Words on the kernel's command line.
    words: Vec<String>,
}

impl Guest {
    pub fn new(series: &str, machine: Machine) -> Self {
        Self { series: series.to_owned(), machine, variant: String::new(), cpus: 2, words: Vec::new() }
    }

    pub fn with_words(mut self, words: &[String]) -> Self {
        self.words.extend_from_slice(words);
        self
    }

    /// The guests of the long form.
    pub fn variants(&self) -> Vec<Self> {
        let other = |variant: &str, cpus: u32, words: &[&str]| Self {
            variant: variant.to_owned(),
            cpus,
            words: words.iter().map(|word| (*word).to_owned()).chain(self.words.clone()).collect(),
            ..self.clone()
        };
        let usual = other("", self.cpus, &["long"]);
        if self.machine != Machine::X86_64 {
            // Of another machine, what matters is that it is another.
            return vec![usual];
        }
        let locked_down = ["lsm=lockdown,capability,bpf", "lockdown=confidentiality"];
        let locked_down_unseen = [&locked_down[..], &["unmounted=securityfs"]].concat();
        vec![
            usual,
            other("cgroup v1", 2, &["long", "cgroup=1"]),
            other("1 CPU", 1, &["long"]),
            other("4 CPUs", 4, &["long"]),
            other("16 CPUs", 16, &["long"]),
            other("lockdown", 2, &locked_down),
            other("lockdown, no securityfs", 2, &locked_down_unseen),
        ]
    }

    /// How the table calls it.
    pub fn name(&self) -> String {
        let name = format!("{} {}", self.series, self.machine.debian());
        if self.variant.is_empty() { name } else { format!("{name}, {}", self.variant) }
    }

    /// Boots it, and returns what it reports until it turns itself off.
    pub fn boot(&self, initramfs: &Initramfs) -> Result<Outcomes> {
        let files = tempfile::tempdir()?;
        let (initrd, disk) = (files.path().join("initrd"), files.path().join("disk"));
        initramfs.write(self, &initrd)?;
        File::create(&disk)?.set_len(64 << 20)?;
        let kernel = initramfs.kernel(self);
        let mut emulator = Command::new(self.machine.emulator());
        emulator
            .args(self.machine.arguments())
            // With a thread for each CPU, guests lock up when tracepoints are patched.
            .args(["-accel", "tcg,thread=single", "-smp", &self.cpus.to_string(), "-m", MEMORY])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(["-drive", &format!("file={},format=raw,if=none,id=disk", disk.display())])
            .args(["-device", "nvme,drive=disk,serial=disk"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", &self.command_line()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        self.read(emulator.spawn().explain(|| format!("cannot start {}", self.machine.emulator()))?)
    }

    fn command_line(&self) -> String {
        let console = self.machine.console();
        format!("console={console} panic=-1 no_timer_check quiet loglevel=1 {}", self.words.join(" "))
    }

    /// Reads the console until the end.
    fn read(&self, emulator: std::process::Child) -> Result<Outcomes> {
        let mut emulator = Guarded(emulator);
        let console = emulator.0.stdout.take().ok_or("the emulator has no output")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            let lines = BufReader::new(console).split(b'\n').map_while(std::result::Result::ok);
            for line in lines {
                let _ = sender.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        });
        let mut outcomes = Outcomes::new(self.name());
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    eprintln!("{}: {line}", self.name());
                    outcomes.read(&line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    outcomes.fail("guest", &format!("no output for {} s", SILENCE.as_secs()));
                    break;
                }
            }
        }
        drop(emulator);
        let _ = reader.join();
        outcomes.check_end();
        Ok(outcomes)
    }
}
