use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::{Call, PATIENCE, Process, eventually, wait_until};

/// A terminal with a manager in its foreground, in a session of its own.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    is_closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    process: Process,
}

/// Between two checks whether the terminal is to be closed.
const CHECK_INTERVAL: u16 = 10;

impl Drop for Terminal {
    /// Closes it, which hangs it up.
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Terminal {
    /// Makes the call at a new terminal.
    pub fn of(call: Call<'_>) -> Self {
        let (terminal, stdin) = open();
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().expect("a descriptor can be copied");
        let [stdout, stderr] = [copy(stdin.as_fd()), copy(stdin.as_fd())];
        let call = call.under(["setsid", "--ctty", "--wait"]).stdin(stdin).stdout(stdout).stderr(stderr);
        let (keyboard, screen) = (File::from(copy(terminal.as_fd())), Arc::new(Mutex::new(Vec::new())));
        let (output, seen, is_closed) = (terminal, Arc::clone(&screen), Arc::default());
        let closed = Arc::clone(&is_closed);
        let reader = Some(thread::spawn(move || read(&output, &seen, &closed)));
        Self { keyboard, screen, is_closed, reader, process: call.spawn() }
    }

    /// Presses keys: `\x03` is Ctrl-C.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one `winsize`, which lives until the call returns (ioctl_tty(2)).
        let changed = unsafe { nix::libc::ioctl(self.keyboard.as_raw_fd(), nix::libc::TIOCSWINSZ, &size) };
        assert_eq!(changed, 0, "the size of a terminal can be changed");
    }

    /// What was shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no thread panics with it")).into_owned()
    }

    /// Waits until this is shown.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        wait_until(&format!("the terminal shows {text:?}: {:?}", self.screen()), PATIENCE, || {
            self.screen().contains(text)
        });
    }

    /// Waits for the end, and returns the exit status and all that was shown.
    #[track_caller]
    pub fn ends(mut self) -> (Option<i32>, String) {
        let answer = self.process.ends(PATIENCE);
        // The thread may still have to read what was shown last.
        let last = eventually("the last line is shown", PATIENCE, || {
            Some(self.screen())
                .filter(|screen| screen.contains("recorded") || answer.status.code() != Some(0))
        });
        (answer.status.code(), last)
    }
}

/// Opens both ends of a new terminal. No other process gets them: it would keep the terminal open.
fn open() -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let terminal = posix_openpt(flags).expect("a terminal can be opened");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let name = ptsname_r(&terminal).expect("it has a name");
    let other = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    (File::from(OwnedFd::from(terminal)), other.expect("it can be opened"))
}

/// Keeps what is shown, until the terminal is closed by its last process or by us.
fn read(mut output: &File, seen: &Mutex<Vec<u8>>, is_closed: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !is_closed.load(Ordering::Relaxed) {
        if poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], CHECK_INTERVAL) == Ok(0) {
            continue;
        }
        match output.read(&mut bytes) {
            Ok(length @ 1..) => {
                seen.lock().expect("no thread panics with it").extend_from_slice(&bytes[..length])
            }
            _ => return,
        }
    }
}
