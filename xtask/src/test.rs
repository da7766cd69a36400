//! `cargo xtask test`: runs every test, and reports those that were skipped.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write, stderr};
use std::path::Path;
use std::process::Stdio;

use crate::error::{Explain, Result};
use crate::{cargo, privilege};

/// The prefix of the line that a skipped test writes to standard error. Its name and the reason follow.
const SKIPPED: &str = "SKIPPED ";

/// Builds everything that tests may start or load, then runs them. `words` are passed to `cargo test`.
pub fn test(words: &[&str]) -> Result<()> {
    test_with(&[], words)
}

/// Fails every system call of a session in turn.
pub fn faults() -> Result<()> {
    test(&["--package", "system-tests", "--test", "injection", "--", "--ignored", "--nocapture"])
}

/// Starts and ends many sessions at random, so that leaks add up.
pub fn soak(sessions: Option<&str>) -> Result<()> {
    let sessions: Vec<_> = sessions.map(|sessions| ("SESSIONS", OsStr::new(sessions))).into_iter().collect();
    test_with(&sessions, &["--package", "system-tests", "--test", "soak", "--", "--ignored", "--nocapture"])
}

/// Plays the DaemonSet of container-tracer with a manager and plugins from this directory, in this root file system.
pub fn daemon_set(kernel: &Path, root: &Path) -> Result<()> {
    let variables =
        [("DAEMON_SET_KERNEL_DIRECTORY", kernel.as_os_str()), ("DAEMON_SET_ROOT", root.as_os_str())];
    test_with(&variables, &["--workspace", "--test", "daemon_set"])
}

fn test_with(variables: &[(&str, &OsStr)], words: &[&str]) -> Result<()> {
    if let Some(why) = privilege::obstacle() {
        announce(&format!("Tests that trace the kernel will be skipped: {why}."));
        refuse_in_ci()?;
    }
    // `cargo test` does not build the executables and plugins that a test starts or loads at run time.
    cargo::run(&mut cargo::cargo(&[&["build", "--workspace", "--all-targets"], profile(words)].concat()))?;
    run_tests(variables, words)
}

/// Runs the tests, and reports the skipped ones at the end.
fn run_tests(variables: &[(&str, &OsStr)], words: &[&str]) -> Result<()> {
    let mut tests = cargo::cargo(&[&["test"], words].concat());
    tests.envs(variables.iter().copied());
    let mut running = tests.stderr(Stdio::piped()).spawn().explain(|| "cannot start cargo")?;
    let mut skipped = Vec::new();
    for line in BufReader::new(running.stderr.take().expect("it is a pipe")).split(b'\n') {
        let line = line?;
        stderr().write_all(&[&line, &b"\n"[..]].concat())?;
        skipped.extend(String::from_utf8_lossy(&line).strip_prefix(SKIPPED).map(str::to_owned));
    }
    let status = running.wait()?;
    if !skipped.is_empty() {
        announce(&format!("{} tests were SKIPPED:\n  {}", skipped.len(), skipped.join("\n  ")));
        refuse_in_ci()?;
    }
    if status.success() { Ok(()) } else { Err("tests failed".into()) }
}

/// The arguments that select the profile, which must be the same for the build and the tests.
fn profile<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    let ours = words.split(|word| *word == "--").next().unwrap_or_default();
    let chooses =
        |word: &&str| matches!(*word, "-r" | "--release" | "--profile") || word.starts_with("--profile=");
    match ours.iter().position(chooses) {
        Some(at) if ours[at] == "--profile" => &ours[at..ours.len().min(at + 2)],
        Some(at) => &ours[at..=at],
        None => &[],
    }
}

fn refuse_in_ci() -> Result<()> {
    match env::var_os("CI") {
        Some(_) => Err("no test may be skipped where CI is set".into()),
        None => Ok(()),
    }
}

fn announce(what: &str) {
    let line = "=".repeat(100);
    eprintln!("\n{line}\n{what}\n{line}\n");
}

#[cfg(test)]
mod tests {
    use super::profile;

    #[test]
    fn the_build_uses_the_profile_of_the_tests() {
        assert_eq!(profile(&["--test", "run", "--release"]), ["--release"]);
        assert_eq!(profile(&["--profile", "bench", "name"]), ["--profile", "bench"]);
        assert_eq!(profile(&["--profile=bench"]), ["--profile=bench"]);
        assert!(profile(&["name", "--", "--release"]).is_empty());
    }
}
