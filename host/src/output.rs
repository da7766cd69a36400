//! Standard output and standard error.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use trace_hook_api::is_plain;

use crate::error::{Error, Result};
use crate::interrupts::Interrupts;
use crate::patience::patient;

/// How long to wait for room in a full pipe. The path is one line, so a pipe that stays full has no reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// What packages call the executable in `PATH`.
pub const LINK_NAME: &str = "trace-hooks";
/// The same for those who type it often.
pub const SHORT_LINK_NAME: &str = "th";

/// How many bytes of a text are printed on one line.
const LONGEST_LINE: usize = 4 << 10;

/// The largest write to a pipe that does not block if the pipe polls as writable (`PIPE_BUF`).
pub const ATOMIC_WRITE: usize = 4096;

static CLOSED_AT_SPAWN: AtomicBool = AtomicBool::new(false);

/// Rust's runtime replaces a closed standard output by `/dev/null` before `main` begins, so writes to it are lost
/// without an error. This runs earlier.
#[used]
#[unsafe(link_section = ".init_array")]
static CHECK_STDOUT: extern "C" fn() = {
    extern "C" fn check() {
        let open = nix::fcntl::fcntl(io::stdout(), nix::fcntl::FcntlArg::F_GETFD);
        CLOSED_AT_SPAWN.store(open == Err(Errno::EBADF), Ordering::Relaxed);
    }
    check
};

/// Prints text to standard output.
///
/// # Errors
///
/// Not all of it could be printed.
pub fn print(text: &str) -> Result<()> {
    check_open()?;
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| Error::Output(error.to_string()))
}

/// Prints the path of the trace file as one line, or nothing.
///
/// # Errors
///
/// It could not be printed, or a signal was received first.
pub fn print_path(path: &Path, interrupts: &Interrupts) -> Result<()> {
    check_open()?;
    let deadline = Instant::now() + patient(PATIENCE);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let stdout = io::stdout();
        let mut fds = [
            PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::POLLOUT),
        ];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) if interrupts.pending() => return Err(Error::Interrupted),
            Ok(0) => return Err(Error::Output("the pipe is full, and its reader takes nothing".to_owned())),
            Ok(_) => return write_line(path),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::Output(errno.desc().to_owned())),
        }
    }
}

/// Prints a message on standard error, as one line.
pub fn report(message: &str) {
    clear_status();
    // In one write, so that a reader gets the whole line at once. Errors have no place to be reported.
    let _ = io::stderr().write_all(format!("{}: {}\n", program_name(), one_line(message)).as_bytes());
}

/// The name that begins each message: that of the link in `PATH`, if it was called by that.
pub fn program_name() -> &'static str {
    static NAME: OnceLock<&str> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = std::env::args_os().next().unwrap_or_default();
        let is_link = Path::new(&called).file_name().is_some_and(|name| name == LINK_NAME);
        if is_link { LINK_NAME } else { "manager" }
    })
}

/// Whether the last line of the terminal is a status.
static SHOWS_STATUS: AtomicBool = AtomicBool::new(false);
/// To the beginning of the line, and erase it (ECMA-48: CR, EL).
const ERASE_LINE: &str = "\r\x1b[K";

/// Shows a status on the last line of the terminal on standard error, in the place of the last one.
pub fn show_status(status: &str) {
    SHOWS_STATUS.store(true, Ordering::Relaxed);
    let _ = io::stderr().write_all(format!("{ERASE_LINE}{}", one_line(status)).as_bytes());
}

/// Erases the status, if one is shown.
pub fn clear_status() {
    if SHOWS_STATUS.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(ERASE_LINE.as_bytes());
    }
}

/// Escapes all characters that would break the line or control a terminal, and truncates a long text.
pub fn one_line(text: &str) -> String {
    let text = text.trim_end();
    let (shown, rest) = text.split_at(text.floor_char_boundary(LONGEST_LINE));
    let mut line: String = shown
        .chars()
        .map(|c| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect();
    if !rest.is_empty() {
        line.push_str(&format!(" … ({} bytes more)", rest.len()));
    }
    line
}

/// Escapes all characters in the JSON text that would control a terminal.
pub fn plain_json(json: &str) -> String {
    // Such characters occur only in strings: the rest of JSON is ASCII without control characters, except newlines.
    let escape = |c: char| match c {
        c if is_plain(c) || c == '\n' => c.to_string(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    json.chars().map(escape).collect()
}

/// Checks that standard output is open.
///
/// # Errors
///
/// It was closed when this process was started.
pub fn check_open() -> Result<()> {
    match CLOSED_AT_SPAWN.load(Ordering::Relaxed) {
        true => Err(Error::Output("it is closed".to_owned())),
        false => Ok(()),
    }
}

fn write_line(path: &Path) -> Result<()> {
    let line = format!("{}\n", path.display());
    match write(io::stdout(), line.as_bytes()) {
        Ok(written) if written == line.len() => Ok(()),
        Ok(_) => Err(Error::Output("only a part of the path was written".to_owned())),
        Err(errno) => Err(Error::Output(errno.desc().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, one_line, plain_json};

    #[test]
    fn line_breaks_and_terminal_controls_are_escaped() {
        assert_eq!(one_line("a\nb\x1b[31m\tü\n"), "a\\nb\\u{1b}[31m\\tü");
        assert_eq!(
            one_line("\u{9b}2J\u{202e}so.\u{2028}\u{200b}"),
            "\\u{9b}2J\\u{202e}so.\\u{2028}\\u{200b}"
        );
    }

    #[test]
    fn long_text_is_truncated() {
        let flood = "ü".repeat(LONGEST_LINE);
        let line = one_line(&flood);
        assert!(line.len() < LONGEST_LINE + 100 && line.ends_with("bytes more)"), "{}", line.len());
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "a\u{202e}b\u{7f}\u{e0001}\"ü\n";
        let json = plain_json(&serde_json::json!([text]).to_string());
        assert_eq!(json, r#"["a\u202eb\u007f\udb40\udc01\"ü\n"]"#);
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
