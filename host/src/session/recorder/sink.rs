//! Where the lines of a session go.

use std::io::{self, PipeWriter};
use std::path::Path;

use crate::error::Result;
use crate::session::backlog::Backlog;
use crate::session::lines::Lines;
use crate::session::trace_file::{EndedTrace, Sent, TraceWriter};
use crate::session::trace_pipe::TracePipe;

/// The writing end of a trace.
pub enum Sink {
    /// For a caller, one line per packet.
    TraceFile(TraceWriter),
    /// For the supervisor, which prints the trace.
    Pipe(TracePipe),
}

impl Sink {
    /// Opens the pipe, or if there is none the trace file at this path.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(pipe: Option<&PipeWriter>, path: &Path) -> Result<Self> {
        match pipe {
            Some(pipe) => TracePipe::open(pipe).map(Self::Pipe),
            None => TraceWriter::open(path).map(Self::TraceFile),
        }
    }

    /// Sends as many lines as there is room for. Returns whether there was any.
    ///
    /// # Errors
    ///
    /// The write failed for a reason other than missing room or a missing reader.
    pub fn send(&mut self, backlog: &mut Backlog) -> nix::Result<bool> {
        match self {
            Self::TraceFile(trace) => send_packets(trace, backlog),
            Self::Pipe(pipe) => pipe.send(backlog),
        }
    }

    /// Reclaims a line if its reader closed the file within the line. The next reader gets the whole line, rather than
    /// its end, which would look like a line of its own.
    pub fn reclaim_torn_line(&mut self, backlog: &mut Backlog) -> io::Result<()> {
        if let Self::TraceFile(trace) = self
            && trace.may_be_torn()
            && !trace.has_reader()
        {
            backlog.put_back(trace.reclaim()?.whole_lines());
        }
        Ok(())
    }

    /// Takes the unread lines back, followed by `later` ones. A line whose beginning was read is completed for its reader.
    ///
    /// # Errors
    ///
    /// They cannot be read, or the line cannot be completed.
    pub fn take_back(&mut self, later: Lines) -> io::Result<Lines> {
        let trace = match self {
            Self::TraceFile(trace) => trace,
            Self::Pipe(pipe) => return pipe.take_back(later),
        };
        let mut taken = trace.reclaim()?;
        taken.lines.append(later);
        if !taken.torn.is_empty() && trace.has_reader() {
            trace.send_remainder(&taken.lines.take_first())?;
            taken.torn = Lines::default();
        }
        Ok(taken.whole_lines())
    }

    /// The pipe, if it is one.
    pub fn as_pipe(&self) -> Option<&TracePipe> {
        match self {
            Self::TraceFile(_) => None,
            Self::Pipe(pipe) => Some(pipe),
        }
    }

    /// The number of bytes that were sent and not read yet.
    pub fn unread(&self) -> usize {
        match self {
            Self::TraceFile(trace) => trace.unread(),
            Self::Pipe(pipe) => pipe.unread(),
        }
    }

    pub fn has_reader(&self) -> bool {
        match self {
            Self::TraceFile(trace) => trace.has_reader(),
            Self::Pipe(pipe) => pipe.has_reader(),
        }
    }

    /// Ends the trace, and removes the trace file from this path.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn end(self, path: &Path) -> Result<Option<EndedTrace>> {
        match self {
            Self::TraceFile(trace) => trace.end(path).map(Some),
            Self::Pipe(_) => Ok(None),
        }
    }
}

fn send_packets(trace: &mut TraceWriter, backlog: &mut Backlog) -> nix::Result<bool> {
    let mut has_sent = false;
    while let Some((packet, is_event)) = backlog.next_packet() {
        let length = packet.len();
        match trace.send(packet, is_event)? {
            Sent::Yes => backlog.take(length),
            Sent::Full | Sent::NoReader => break,
        }
        has_sent = true;
    }
    Ok(has_sent)
}
