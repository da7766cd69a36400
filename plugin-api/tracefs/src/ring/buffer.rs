use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Damage, Error, Layout, Lost, Page};

/// The most bytes read from one CPU in a sweep. Without a limit, a writer at full speed could keep the sweep from ending.
const BYTES_PER_CPU: usize = 4 << 20;

/// A time in which a writer at full speed fills about two pages. After it, records may have been overwritten.
const PAUSE: Duration = Duration::from_micros(100);
/// The pages that are read with room for a number after a pause.
const WITH_ROOM_AFTER_PAUSE: u32 = 2;
/// The same after a gap. While these are read, a reader that is fast enough gets ahead of the writer by some pages.
const WITH_ROOM_AFTER_GAP: u32 = 16;

/// The raw ring buffers of an instance, one per CPU, open for reading.
///
/// The buffers of all CPUs are read, including CPUs that are offline: their earlier records are still there, and they may come
/// online again. While this value exists, the instance cannot be removed (`rmdir` fails with EBUSY).
#[derive(Debug)]
pub struct RingBuffer {
    layout: Layout,
    cpus: Vec<CpuBuffer>,
    page: Box<[u8]>,
    wake_marks: Vec<WakeMark>,
    /// The newest time stamp seen in the sweeps before this one.
    horizon: u64,
}

/// An instance's `buffer_percent` (Documentation/trace/ftrace.rst).
#[derive(Debug)]
struct WakeMark {
    file: File,
    usual: String,
}

#[derive(Debug)]
struct CpuBuffer {
    cpu: u32,
    path: PathBuf,
    file: File,
    /// The newest time stamp seen on this CPU.
    newest: u64,
    /// The CPU was offline when the instance was created. It has no buffer before it comes online.
    absent: bool,
    last_read: Option<Instant>,
    /// How many of the next pages are read with room for the number of lost records.
    pages_with_room: u32,
}

/// Why reading the buffer of a CPU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrainEnd {
    /// The buffer is empty.
    Drained,
    /// The last page is probably the one being written.
    CaughtUp,
    /// The limit was reached; the other CPUs are next.
    LimitReached,
}

/// One page, as read from the ring buffer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CollectedPage<'a> {
    /// The CPU that wrote it.
    pub cpu: u32,
    /// The used part of the page, which is all that needs to be kept; the whole page if it is damaged.
    pub bytes: &'a [u8],
    /// The number of records that [`super::Timeline`] will find in it.
    pub records: u64,
    /// Records overwritten before it.
    pub lost: Option<Lost>,
    /// Set if the page cannot be decoded, or not to its end.
    pub damage: Option<Damage>,
}

/// The result of one sweep over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Number of pages passed to the caller.
    pub pages: u64,
    /// Number of bytes passed to the caller.
    pub bytes: u64,
    /// Every record up to this time stamp has been passed to the caller, in this sweep or an earlier one.
    pub settled: u64,
    /// Whether no CPU reached the limit of a sweep.
    pub drained: bool,
    /// Whether no CPU was left early because the reader had caught up with its writer.
    pub whole: bool,
}

impl RingBuffer {
    /// Opens the raw buffers of the instance in `instance`.
    ///
    /// # Errors
    /// A buffer cannot be opened (EBUSY: `trace_pipe` is being read), or its layout is unknown.
    pub fn open(instance: &Path) -> Result<Self, Error> {
        let layout = Layout::read(instance)?;
        let cpus = open_all(&instance.join("per_cpu"))?;
        let page = vec![0; layout.page_size()].into_boxed_slice();
        let wake_marks = WakeMark::open(instance).into_iter().collect();
        Ok(Self { layout, cpus, page, wake_marks, horizon: 0 })
    }

    /// Adds the buffers of another instance. `number` assigns them numbers, which their pages have in place of the CPU.
    pub fn join(&mut self, other: Self, number: impl Fn(u32) -> u32) {
        let numbered = other.cpus.into_iter().map(|buffer| CpuBuffer { cpu: number(buffer.cpu), ..buffer });
        self.cpus.extend(numbered);
        self.wake_marks.extend(other.wake_marks);
    }

    /// The layout of the pages, for decoding them.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The CPUs that are read, in the order of the sweep.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        self.cpus.iter().map(|buffer| buffer.cpu)
    }

    /// The descriptors of the buffers. Each polls as readable when its buffer is filled to the instance's `buffer_percent`.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // An absent buffer always polls as an error.
        self.cpus.iter().filter(|buffer| !buffer.absent).map(|buffer| buffer.file.as_fd())
    }

    /// Lets the descriptors poll as readable from the first record on, or again when the buffers are filled to the instance's
    /// `buffer_percent`. Returns whether the kernel does that. Kernels without `buffer_percent`, before 5.0, always wake at
    /// the first record.
    ///
    /// While the descriptors are polled, the first record costs its task an interrupt.
    pub fn wake_at_first_record(&mut self, first: bool) -> bool {
        self.wake_marks.iter().all(|mark| mark.set(first).is_ok())
    }

    /// Reads all records, CPU by CPU, without waiting, and passes each page to `sink`.
    ///
    /// With a writer at full speed, this may end at the limit of a sweep, with [`Sweep::drained`] false; see
    /// [`Self::catch_up`].
    ///
    /// **Gaps.** A page has the number of lost records if the kernel finds room for it. Pages that are likely to follow a gap
    /// are read in two parts, so that there is room.
    ///
    /// This includes partly filled pages, so records are available immediately. The records of one CPU are in the order in which
    /// they were written; there is no order between CPUs.
    ///
    /// **Settled.** A record not read by this sweep was committed after its CPU was drained, so it is younger than all records
    /// of *earlier* sweeps. `Sweep::settled` is the newest of those. (A CPU that could not be drained settles only its own
    /// records.) A record can still be late for two reasons: a trace clock that differs between CPUs (`local` on old
    /// machines), or a writer that was interrupted between its time stamp and its commit for longer than the time between
    /// two sweeps. Such a record is not lost, but out of order; [`super::Timeline::late`] counts them.
    ///
    /// # Errors
    /// A buffer cannot be read. The pages passed to `sink` before stay valid.
    pub fn collect(&mut self, sink: impl FnMut(CollectedPage<'_>)) -> Result<Sweep, Error> {
        self.sweep(None, sink)
    }

    /// Like [`Self::collect`], but stops reading a CPU once it has caught up with the writer.
    ///
    /// Reading faster than the writer yields a few records at a time, each time at the cost of a whole page; it is better to
    /// wait. A page that looks like the writer's may also be one that the next record did not fit into, so use this only
    /// while the buffers are far from full.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn catch_up(&mut self, sink: impl FnMut(CollectedPage<'_>)) -> Result<Sweep, Error> {
        self.sweep(Some(self.layout.page_size() / 8), sink)
    }

    /// A page with fewer than `small` bytes is taken for the one being written.
    fn sweep(
        &mut self,
        small: Option<usize>,
        mut sink: impl FnMut(CollectedPage<'_>),
    ) -> Result<Sweep, Error> {
        let mut sweep = Sweep { settled: u64::MAX, drained: true, whole: true, ..Sweep::default() };
        for buffer in &mut self.cpus {
            let end = buffer.drain(&self.layout, &mut self.page, small, &mut sweep, &mut sink)?;
            let bound = match end {
                DrainEnd::Drained => self.horizon.max(buffer.newest),
                DrainEnd::CaughtUp | DrainEnd::LimitReached => buffer.newest,
            };
            sweep.settled = sweep.settled.min(bound);
            sweep.drained &= end != DrainEnd::LimitReached;
            sweep.whole &= end != DrainEnd::CaughtUp;
        }
        let newest = self.cpus.iter().map(|buffer| buffer.newest).max();
        self.horizon = self.horizon.max(newest.unwrap_or(0));
        Ok(sweep)
    }

    /// Sleeps until a buffer is filled to the instance's `buffer_percent`, or until the timeout.
    ///
    /// A single record does not end the sleep, so `timeout` bounds the delay of a record (one more sweep settles it): with
    /// 20 ms, a line follows its event within 50 ms.
    ///
    /// # Errors
    /// `poll` failed for a reason other than a signal. A signal only ends the sleep.
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

impl WakeMark {
    fn open(instance: &Path) -> Option<Self> {
        let path = instance.join("buffer_percent");
        let usual = fs::read_to_string(&path).ok()?;
        Some(Self { file: OpenOptions::new().write(true).open(path).ok()?, usual })
    }

    fn set(&self, first: bool) -> io::Result<()> {
        (&self.file).write_all(if first { b"0" } else { self.usual.as_bytes() })
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
    ) -> Result<DrainEnd, Error> {
        let mut read = 0;
        // The first page may be the remainder of the last page of the sweep before.
        let mut is_remainder = true;
        while read < BYTES_PER_CPU {
            let with_room = self.is_gap_likely();
            let length = if with_room { self.read_with_room(layout, page)? } else { self.read(page)? };
            let Some(bytes) = page.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return Ok(DrainEnd::Drained);
            };
            let collected = self.inspect(layout, bytes);
            if collected.lost.is_some() {
                self.pages_with_room = WITH_ROOM_AFTER_GAP;
            }
            let is_small = small.is_some_and(|small| collected.bytes.len() < small);
            let caught_up = is_small && !is_remainder;
            is_remainder = with_room && !is_small;
            read += layout.page_size();
            sweep.pages += 1;
            sweep.bytes += collected.bytes.len() as u64;
            sink(collected);
            if caught_up {
                return Ok(DrainEnd::CaughtUp);
            }
        }
        Ok(DrainEnd::LimitReached)
    }

    /// Whether records may have been overwritten before the next page, because nothing was read for some time, or because
    /// some were overwritten just before.
    fn is_gap_likely(&mut self) -> bool {
        let now = Instant::now();
        let before = self.last_read.replace(now);
        if before.is_none_or(|before| now.duration_since(before) > PAUSE) {
            self.pages_with_room = self.pages_with_room.max(WITH_ROOM_AFTER_PAUSE);
        }
        let is_likely = self.pages_with_room > 0;
        self.pages_with_room = self.pages_with_room.saturating_sub(1);
        is_likely
    }

    /// Reads one page without the last records of a full one, which follow as another page. Returns 0 if there is none.
    ///
    /// The kernel stores the number of lost records after those that it returns, and only if there is room
    /// (`ring_buffer_read_page`). Of records of some sizes, as many fill a page that there never is. But it copies no more
    /// records than the caller has asked for bytes. This takes five times as long.
    fn read_with_room(&mut self, layout: &Layout, page: &mut [u8]) -> Result<usize, Error> {
        let (records, room) = page.split_at_mut(layout.page_size() - layout.commit.size);
        match self.read(records)? {
            0 => Ok(0),
            length => Ok(length + self.read(room)?),
        }
    }

    /// Reads one page. Returns 0 if there is none.
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
            Ok(file) => {
                Ok(Self { cpu, path, file, newest: 0, absent: false, last_read: None, pages_with_room: 0 })
            }
            Err(source) => Err(Error::Io { path, source }),
        }
    }
}
