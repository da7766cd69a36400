//! Messages between supervisor and worker: a JSON document a line.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A message longer than this is no message but an attack on our memory.
const LONGEST_MESSAGE: usize = 16 << 20;

/// One end of a connection.
pub struct Channel {
    sender: Sender,
    received: Vec<u8>,
    /// So many of these bytes have no end of a message among them.
    searched: usize,
}

/// What says something. Clones of it, in several threads, do not mix their messages.
#[derive(Clone)]
pub struct Sender {
    // One descriptor for both directions: that is all that a worker keeps.
    stream: Arc<UnixStream>,
    turn: Arc<Mutex<()>>,
}

/// What was there to receive.
pub enum Received<T> {
    Message(T),
    /// Nothing, for the moment.
    Nothing,
    /// The other end is gone.
    End,
    /// Something that is no message.
    Garbage(String),
}

impl Channel {
    /// Both ends of a new connection.
    pub fn pair() -> Result<(Self, Self)> {
        let pair = || -> std::io::Result<(Self, Self)> {
            let (one, other) = UnixStream::pair()?;
            Ok((Self::over(one), Self::over(other)))
        };
        pair().map_err(|source| Error::System { action: "connect to a worker", source })
    }

    fn over(stream: UnixStream) -> Self {
        let sender = Sender { stream: Arc::new(stream), turn: Arc::default() };
        Self { sender, received: Vec::new(), searched: 0 }
    }

    /// What says something to the other end.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The next message, without waiting for it.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Received<T> {
        loop {
            let unsearched = &self.received[self.searched..];
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=self.searched + end).collect();
                self.searched = 0;
                return match serde_json::from_slice(&line) {
                    Ok(message) => Received::Message(message),
                    Err(error) => Received::Garbage(error.to_string()),
                };
            }
            self.searched = self.received.len();
            if self.received.len() > LONGEST_MESSAGE {
                return Received::Garbage(format!("a message of more than {LONGEST_MESSAGE} bytes"));
            }
            let mut buffer = [0; 16 << 10];
            match self.receive_bytes(&mut buffer) {
                Ok(0) => return Received::End,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Received::End,
                Err(error) => return Received::Garbage(error.to_string()),
            }
        }
    }

    /// Reading must not wait, writing may: so the descriptor stays blocking.
    fn receive_bytes(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use nix::sys::socket::{MsgFlags, recv};
        use std::os::fd::AsRawFd;
        Ok(recv(self.sender.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl Sender {
    /// Says a message.
    pub fn send(&self, message: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(&line)
    }

    /// Says nothing any more. The other end sees that this one is gone, but may go on talking.
    pub fn fall_silent(&self) {
        // It fails only where nobody is there to see it.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.stream.as_fd()
    }
}
