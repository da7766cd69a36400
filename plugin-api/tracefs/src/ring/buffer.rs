use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Damage, Error, Layout, Lost, Page};

/// So many bytes are taken from one CPU before the next has its turn, lest a flat-out writer keep a sweep
/// from ending.
const BYTES_PER_TURN: usize = 4 << 20;

/// The raw ring buffers of an instance, one per CPU, open for reading.
///
/// All CPUs that the kernel has a buffer for are read, also those offline now: what they wrote before is
/// still there, and they may come back. While this value lives the instance cannot be removed (`rmdir` gives
/// EBUSY).
#[derive(Debug)]
pub struct RingBuffer {
    layout: Layout,
    cpus: Vec<CpuBuffer>,
    page: Box<[u8]>,
    /// The newest time stamp seen in the sweeps before this one.
    horizon: u64,
}

#[derive(Debug)]
struct CpuBuffer {
    cpu: u32,
    path: PathBuf,
    file: File,
    /// The newest time stamp seen on this CPU.
    newest: u64,
    /// The CPU was offline when the instance was made, and has no buffer before it comes online.
    absent: bool,
}

/// How the reading of a CPU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There was nothing more.
    Drained,
    /// The last page looks like the one that is being written to.
    MetWriter,
    /// The others have to be read, too.
    Over,
}

/// One page as it came off the ring.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CollectedPage<'a> {
    /// The CPU that wrote it.
    pub cpu: u32,
    /// The used part of the page: all that needs to be kept. Damaged pages come whole.
    pub bytes: &'a [u8],
    /// Records in it, as [`super::Timeline`] will find them.
    pub records: u64,
    /// Records overwritten before it.
    pub lost: Option<Lost>,
    /// Set where the page cannot be decoded, or not to its end.
    pub damage: Option<Damage>,
}

/// What one sweep over all CPUs brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Pages handed over.
    pub pages: u64,
    /// Bytes handed over.
    pub bytes: u64,
    /// Every record up to this time stamp has been handed over, in this sweep or earlier.
    pub settled: u64,
    /// Every CPU was read as far as it was to be.
    pub drained: bool,
    /// No CPU was left alone because its writer seemed to be met.
    pub whole: bool,
}

impl RingBuffer {
    /// Opens the raw buffers of the instance in `instance`.
    ///
    /// # Errors
    /// A buffer that cannot be opened (EBUSY: `trace_pipe` is being read), or an unknown layout.
    pub fn open(instance: &Path) -> Result<Self, Error> {
        let layout = Layout::read(instance)?;
        let cpus = open_all(&instance.join("per_cpu"))?;
        let page = vec![0; layout.page_size()].into_boxed_slice();
        Ok(Self { layout, cpus, page, horizon: 0 })
    }

    /// Adds the buffers of another instance, which `number` gives numbers of their own: in the place of the CPU, a page
    /// bears the number of its buffer.
    pub fn join(&mut self, other: Self, number: impl Fn(u32) -> u32) {
        let numbered = other.cpus.into_iter().map(|buffer| CpuBuffer { cpu: number(buffer.cpu), ..buffer });
        self.cpus.extend(numbered);
    }

    /// The layout of the pages, for decoding them.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The CPUs that are read, in the order of the sweep.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        self.cpus.iter().map(|buffer| buffer.cpu)
    }

    /// The buffers, each of which polls as readable when it is filled to the instance's `buffer_percent`.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // An absent one polls as broken, at once and for ever.
        self.cpus.iter().filter(|buffer| !buffer.absent).map(|buffer| buffer.file.as_fd())
    }

    /// Takes everything there is, CPU after CPU, without waiting, and gives each page to `sink`.
    ///
    /// A flat-out writer may not let this end before [`Sweep::drained`] is false: see [`Self::catch_up`].
    ///
    /// Partly filled pages come too, so a record is never held back by an unfilled page. Records of different
    /// CPUs come in no particular order, those of one CPU in the order they were written.
    ///
    /// **Settled.** A record not handed over by this sweep was committed after its CPU was drained here, so
    /// it is younger than everything that *earlier* sweeps had already brought: that is where
    /// `Sweep::settled` stands. (A CPU too busy to be drained settles only what it handed over itself.) Two
    /// things can make a record late all the same: a trace clock that runs differently on the CPUs (`local`
    /// on old machines), and a writer interrupted between taking its time stamp and committing for longer
    /// than the time between two sweeps. Such a record is not lost, just not in its place;
    /// [`super::Timeline::late`] counts them.
    ///
    /// # Errors
    /// A buffer that cannot be read. What `sink` got before stays valid.
    pub fn collect(&mut self, sink: impl FnMut(CollectedPage<'_>)) -> Result<Sweep, Error> {
        self.sweep(None, sink)
    }

    /// Like [`Self::collect`], but leaves a CPU alone once its writer was met.
    ///
    /// To read faster than somebody writes yields a few records at a time, each time for the price of a whole page: it is
    /// better to rest. What looks like the writer's page may be a page that its next record did not fit
    /// into, so this is only for when the buffers are far from full.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn catch_up(&mut self, sink: impl FnMut(CollectedPage<'_>)) -> Result<Sweep, Error> {
        self.sweep(Some(self.layout.page_size() / 8), sink)
    }

    /// `small`: less than so many bytes of a page mean that the writer is still there.
    fn sweep(
        &mut self,
        small: Option<usize>,
        mut sink: impl FnMut(CollectedPage<'_>),
    ) -> Result<Sweep, Error> {
        let mut sweep = Sweep { settled: u64::MAX, drained: true, whole: true, ..Sweep::default() };
        for buffer in &mut self.cpus {
            let end = buffer.drain(&self.layout, &mut self.page, small, &mut sweep, &mut sink)?;
            let bound = match end {
                Turn::Drained => self.horizon.max(buffer.newest),
                Turn::MetWriter | Turn::Over => buffer.newest,
            };
            sweep.settled = sweep.settled.min(bound);
            sweep.drained &= end != Turn::Over;
            sweep.whole &= end != Turn::MetWriter;
        }
        let newest = self.cpus.iter().map(|buffer| buffer.newest).max();
        self.horizon = self.horizon.max(newest.unwrap_or(0));
        Ok(sweep)
    }

    /// Sleeps until a buffer is filled to the instance's `buffer_percent`, or `timeout` is over.
    ///
    /// A record alone does not end the sleep, so `timeout` bounds how late a record is seen (and a sweep
    /// later it is settled): 20 ms keeps a line within 50 ms of its event.
    ///
    /// # Errors
    /// `poll` failing for another reason than a signal, which just ends the sleep.
    pub fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let mut descriptors: Vec<PollFd<'_>> =
            self.descriptors().map(|buffer| PollFd::new(buffer, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::Io { path: self.first_path(), source: errno.into() }),
        }
    }

    fn first_path(&self) -> PathBuf {
        self.cpus.first().map(|buffer| buffer.path.clone()).unwrap_or_default()
    }
}

impl CpuBuffer {
    fn drain(
        &mut self,
        layout: &Layout,
        page: &mut [u8],
        small: Option<usize>,
        sweep: &mut Sweep,
        sink: &mut impl FnMut(CollectedPage<'_>),
    ) -> Result<Turn, Error> {
        let mut turn = 0;
        while turn < BYTES_PER_TURN {
            let length = self.read(page)?;
            let Some(bytes) = page.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return Ok(Turn::Drained);
            };
            let collected = self.inspect(layout, bytes);
            // The first may be what the sweep before has left of its last page.
            let met_writer = turn > 0 && small.is_some_and(|small| collected.bytes.len() < small);
            turn += layout.page_size();
            sweep.pages += 1;
            sweep.bytes += collected.bytes.len() as u64;
            sink(collected);
            if met_writer {
                return Ok(Turn::MetWriter);
            }
        }
        Ok(Turn::Over)
    }

    /// Reads one page; 0 where there is none.
    fn read(&mut self, page: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.file.read(page) {
                Ok(length) => {
                    self.absent = false;
                    return Ok(length);
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
                    self.absent = true;
                    return Ok(0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Io { path: self.path.clone(), source });
                }
            }
        }
    }

    fn inspect<'a>(&mut self, layout: &Layout, bytes: &'a [u8]) -> CollectedPage<'a> {
        let whole = CollectedPage { cpu: self.cpu, bytes, records: 0, lost: None, damage: None };
        let page = match Page::new(layout, bytes) {
            Ok(page) => page,
            Err(damage) => {
                return CollectedPage { damage: Some(damage), ..whole };
            }
        };
        let mut records = page.records();
        let mut count = 0;
        for record in records.by_ref() {
            self.newest = self.newest.max(record.stamp);
            count += 1;
        }
        let damage = records.damage();
        let kept = if damage.is_none() { bytes.get(..page.used()).unwrap_or(bytes) } else { bytes };
        CollectedPage { bytes: kept, records: count, lost: page.lost, damage, ..whole }
    }
}

fn open_all(per_cpu: &Path) -> Result<Vec<CpuBuffer>, Error> {
    let io = |source| Error::Io { path: per_cpu.to_owned(), source };
    let mut cpus = Vec::new();
    for entry in fs::read_dir(per_cpu).map_err(io)? {
        let entry = entry.map_err(io)?;
        if let Some(cpu) = cpu_number(&entry.file_name().to_string_lossy()) {
            cpus.push(CpuBuffer::open(cpu, entry.path().join("trace_pipe_raw"))?);
        }
    }
    cpus.sort_by_key(|buffer| buffer.cpu);
    if cpus.is_empty() { Err(Error::NoCpu { path: per_cpu.to_owned() }) } else { Ok(cpus) }
}

fn cpu_number(name: &str) -> Option<u32> {
    name.strip_prefix("cpu")?.parse().ok()
}

impl CpuBuffer {
    fn open(cpu: u32, path: PathBuf) -> Result<Self, Error> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
            Ok(file) => Ok(Self { cpu, path, file, newest: 0, absent: false }),
            Err(source) => Err(Error::Io { path, source }),
        }
    }
}
