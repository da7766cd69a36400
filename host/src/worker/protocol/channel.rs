//! The channel between supervisor and worker. Each message is one line of JSON.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Longer messages are rejected, to limit the memory: the supervisor keeps those of all plugins. The description of the largest
/// plugin here takes 20 KiB.
const LONGEST_MESSAGE: usize = 1 << 20;

/// One end of the channel.
pub struct Channel {
    sender: Sender,
    received: Vec<u8>,
    /// How many of these bytes were searched for the end of a message, without finding one.
    searched: usize,
}

/// Sends messages. Clones in several threads do not mix their messages.
#[derive(Clone)]
pub struct Sender {
    // One descriptor for both directions.
    stream: Arc<UnixStream>,
    turn: Arc<Mutex<()>>,
}

/// The result of receiving.
pub enum Received<T> {
    Message(T),
    /// No message has arrived yet.
    Nothing,
    /// The other end is closed.
    End,
    /// Bytes that are not a message, with the reason.
    Garbage(String),
}

impl Channel {
    /// Both ends of a new channel.
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

    /// Sends messages to the other end.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Receives the next message, without waiting for it.
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
                return Received::Garbage(format!("it is longer than {LONGEST_MESSAGE} bytes"));
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

    /// Receiving must not wait, sending may: so the descriptor stays blocking.
    fn receive_bytes(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use nix::sys::socket::{MsgFlags, recv};
        use std::os::fd::AsRawFd;
        Ok(recv(self.sender.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl Sender {
    /// Sends a message.
    pub fn send(&self, message: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(&line)
    }

    /// Ends the messages to the other end, which can still send its own.
    pub fn close(&self) {
        // Fails only if the other end is closed.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.stream.as_fd()
    }
}
