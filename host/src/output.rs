//! Standard output and standard error.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::error::{Error, Result};
use crate::interrupts::Interrupts;

/// How long a caller may take to make room for the path. It is one line; a pipe with no room for it is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// As many bytes of a text are shown on one line.
const LONGEST_LINE: usize = 4 << 10;

/// The most that a pipe which polls as writable takes without blocking (`PIPE_BUF`).
pub const ATOMIC_WRITE: usize = 4096;

static CLOSED_AT_SPAWN: AtomicBool = AtomicBool::new(false);

/// Rust's runtime opens `/dev/null` in the place of a closed standard output before `main` begins, and what is written
/// is lost without an error. So this looks earlier.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = {
    extern "C" fn look() {
        let open = nix::fcntl::fcntl(io::stdout(), nix::fcntl::FcntlArg::F_GETFD);
        CLOSED_AT_SPAWN.store(open == Err(Errno::EBADF), Ordering::Relaxed);
    }
    look
};

/// Prints an answer.
///
/// # Errors
///
/// It could not be printed as a whole.
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
/// It could not be printed, or a signal came first.
pub fn print_path(path: &Path, interrupts: &Interrupts) -> Result<()> {
    check_open()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let stdout = io::stdout();
        let mut fds = [
            PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::POLLOUT),
        ];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) if interrupts.pending() => return Err(Error::Interrupted),
            Ok(0) => return Err(Error::Output("nobody makes room for the path".to_owned())),
            Ok(_) => return write_line(path),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::Output(errno.desc().to_owned())),
        }
    }
}

/// Shows text that is at most [`ATOMIC_WRITE`] long, in part where there is no room for all of it.
pub fn show(text: &[u8]) -> nix::Result<usize> {
    write(io::stdout(), text)
}

/// Tells the user something, on one line.
pub fn tell(message: &str) {
    // Where standard error is gone there is nobody to tell.
    // As a whole: who reads with the first byte is to read all of it.
    let _ = io::stderr().write_all(format!("manager: {}\n", one_line(message)).as_bytes());
}

/// The text with everything escaped that could break a line or speak to a terminal, and cut where it is far too long.
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

/// The JSON text with everything escaped that could speak to a terminal.
pub fn plain_json(json: &str) -> String {
    // All such characters are in strings: outside of them JSON has none but its line ends.
    let escape = |c: char| match c {
        c if is_plain(c) || c == '\n' => c.to_string(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    json.chars().map(escape).collect()
}

/// Whether a terminal just shows the character: control characters give it orders, and format characters make it show
/// another text than there is (Unicode 16, categories Cf, Zl and Zp).
pub fn is_plain(c: char) -> bool {
    let is_format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !is_format
}

/// Checks that there is a standard output at all.
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
        Ok(_) => Err(Error::Output("it took a part of the path only".to_owned())),
        Err(errno) => Err(Error::Output(errno.desc().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, one_line, plain_json};

    #[test]
    fn nothing_breaks_the_line_or_speaks_to_the_terminal() {
        assert_eq!(one_line("a\nb\x1b[31m\tü\n"), "a\\nb\\u{1b}[31m\\tü");
        assert_eq!(
            one_line("\u{9b}2J\u{202e}so.\u{2028}\u{200b}"),
            "\\u{9b}2J\\u{202e}so.\\u{2028}\\u{200b}"
        );
    }

    #[test]
    fn nothing_floods_the_terminal() {
        let flood = "ü".repeat(LONGEST_LINE);
        let line = one_line(&flood);
        assert!(line.len() < LONGEST_LINE + 100 && line.ends_with("bytes more)"), "{}", line.len());
    }

    #[test]
    fn json_stays_what_it_is() {
        let text = "a\u{202e}b\u{7f}\u{e0001}\"ü\n";
        let json = plain_json(&serde_json::json!([text]).to_string());
        assert_eq!(json, r#"["a\u202eb\u007f\udb40\udc01\"ü\n"]"#);
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
