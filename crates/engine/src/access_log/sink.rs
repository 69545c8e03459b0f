//! The buffer of an access log, before the place it goes to.
//!
//! How it works: the buffer gets whole lines only and is written when it is full or at a flush. What a slow reader
//! leaves waits, up to a bound; then new lines are dropped and counted.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::AddAssign;
use std::os::fd::AsFd;

use super::destination::Destination;
use super::stream::Stream;
use super::syslog::{Address, Syslog};

/// A slow reader may let this many full buffers pile up ...
const WAITING_BUFFERS: usize = 4;
/// ... but at least this much.
const MIN_WAITING_BYTES: usize = 256 * 1024;
/// When nothing more may wait, one line in so many checks whether there is room again.
const LINES_PER_RETRY: u64 = 16;

/// How much of a log could not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines that were lost.
    pub dropped_lines: u64,
    /// Writes that failed; a full pipe is none.
    pub failed_writes: u64,
}

impl AddAssign for LogCounts {
    fn add_assign(&mut self, other: Self) {
        self.dropped_lines += other.dropped_lines;
        self.failed_writes += other.failed_writes;
    }
}

/// The buffered end of one worker's log.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// A flush is tried when the buffer is this long: more than `buffer_bytes` while a reader is slow.
    flush_at: usize,
    counts: LogCounts,
}

#[derive(Debug)]
enum Target {
    Stream(Stream),
    Syslog(Syslog),
}

impl Sink {
    pub(super) fn open(destination: Destination, buffer_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            target: Target::open(destination)?,
            buffer: Vec::new(),
            buffer_bytes,
            flush_at: buffer_bytes,
            counts: LogCounts::default(),
        })
    }

    /// Adds what `write` appends: one whole line with its line break.
    pub(super) fn append(&mut self, unix_ms: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_full() {
            if self.counts.dropped_lines % LINES_PER_RETRY == 0 {
                self.flush();
            }
            if self.is_full() {
                self.counts.dropped_lines += 1;
                return;
            }
        }
        if let Target::Syslog(syslog) = &self.target {
            syslog.push_header(unix_ms, &mut self.buffer);
        }
        write(&mut self.buffer);
        if self.buffer.len() >= self.flush_at {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        match &mut self.target {
            Target::Stream(stream) => {
                let done = stream.write(&self.buffer, &mut self.counts);
                self.buffer.drain(..done);
            }
            Target::Syslog(syslog) => {
                syslog.send_lines(&self.buffer, &mut self.counts);
                self.buffer.clear();
            }
        }
        self.flush_at = self.buffer.len() + self.buffer_bytes;
    }

    /// Whether so much waits for a slow reader that no more lines are taken.
    fn is_full(&self) -> bool {
        self.buffer.len()
            >= self
                .buffer_bytes
                .saturating_mul(WAITING_BUFFERS)
                .max(MIN_WAITING_BYTES)
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        match &mut self.target {
            Target::Stream(stream) => stream.reopen(),
            Target::Syslog(syslog) => {
                syslog.disconnect();
                Ok(())
            }
        }
    }

    pub(super) fn take_counts(&mut self) -> LogCounts {
        std::mem::take(&mut self.counts)
    }
}

impl Target {
    fn open(destination: Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stdout => Self::Stream(Stream::adopt(io::stdout().as_fd().try_clone_to_owned()?)?),
            Destination::Stderr => Self::Stream(Stream::adopt(io::stderr().as_fd().try_clone_to_owned()?)?),
            Destination::File(path) => Self::Stream(Stream::open(&path)?),
            Destination::SyslogUnix(path) => Self::Syslog(Syslog::open(Address::Unix(path))),
            Destination::SyslogUdp(host) => Self::Syslog(Syslog::open(Address::Udp(resolve(&host)?))),
        })
    }
}

fn resolve(host: &str) -> io::Result<SocketAddr> {
    let none = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("syslog server `{host}` has no address"),
        )
    };
    host.to_socket_addrs()?.next().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn open(destination: &str, buffer_bytes: usize) -> Sink {
        Sink::open(Destination::parse(destination).expect("valid"), buffer_bytes).expect("opens")
    }

    fn piped() -> (File, Sink) {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let mut sink = open("stderr", 1000);
        sink.target = Target::Stream(Stream::adopt(writer).expect("open"));
        (File::from(reader), sink)
    }

    fn append(sink: &mut Sink, text: &str) {
        sink.append(0, |line| line.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn full_buffer_is_written_in_one_go() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let mut sink = open(&format!("file:{}", path.display()), 10);
        append(&mut sink, "123456789\n");
        assert!(!sink.has_waiting());
        assert_eq!(std::fs::read(path).expect("file"), b"123456789\n");
    }

    #[test]
    fn reopen_follows_a_rotated_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut sink = open(&format!("file:{}", path.display()), 100);
        append(&mut sink, "before\n");
        std::fs::rename(&path, &old).expect("rename");
        sink.reopen().expect("opens");
        append(&mut sink, "after\n");
        sink.flush();
        assert_eq!(std::fs::read(old).expect("file"), b"before\n");
        assert_eq!(std::fs::read(path).expect("file"), b"after\n");
    }

    #[test]
    fn failed_reopen_keeps_the_old_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let mut sink = open(&format!("file:{}", path.display()), 100);
        std::fs::remove_file(&path).expect("remove");
        std::fs::create_dir(&path).expect("a directory in its place");
        assert!(sink.reopen().is_err());
        append(&mut sink, "line\n");
        sink.flush();
        assert_eq!(sink.counts, LogCounts::default());
    }

    #[test]
    fn full_disk_is_counted_and_harmless() {
        let mut sink = open("file:/dev/full", 1000);
        append(&mut sink, "one\n");
        append(&mut sink, "two\n");
        sink.flush();
        assert_eq!(
            sink.counts,
            LogCounts {
                dropped_lines: 2,
                failed_writes: 1
            }
        );
        assert!(!sink.has_waiting());
    }

    #[test]
    fn slow_reader_of_a_pipe_never_blocks_and_gets_whole_lines() {
        let (mut reader, mut sink) = piped();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..10_000 {
            append(&mut sink, &line);
        }
        let dropped = sink.counts.dropped_lines;
        assert!(dropped > 5_000, "{dropped}");
        assert!(sink.buffer.len() <= MIN_WAITING_BYTES + line.len());
        let mut text = String::new();
        std::thread::scope(|scope| {
            scope.spawn(|| reader.read_to_string(&mut text).expect("text"));
            while sink.has_waiting() {
                sink.flush();
                std::thread::yield_now();
            }
            drop(sink);
        });
        assert_eq!(
            text.len() / line.len(),
            10_000 - usize::try_from(dropped).expect("small")
        );
        assert!(text.lines().all(|found| found.len() == 99));
    }

    #[test]
    fn closed_pipe_is_counted_and_harmless() {
        let (reader, mut sink) = piped();
        drop(reader);
        append(&mut sink, "one\n");
        append(&mut sink, &format!("{}\n", "x".repeat(5000)));
        assert!(!sink.has_waiting());
        assert_eq!(
            sink.counts,
            LogCounts {
                dropped_lines: 2,
                failed_writes: 1
            }
        );
    }

    #[test]
    fn syslog_gets_a_datagram_a_line_and_its_absence_is_counted() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("socket");
        let mut sink = open(&format!("syslog:{}", path.display()), 1000);
        append(&mut sink, "lost\n");
        sink.flush();
        assert_eq!(
            sink.counts,
            LogCounts {
                dropped_lines: 1,
                failed_writes: 1
            }
        );

        let daemon = UnixDatagram::bind(&path).expect("bind");
        append(&mut sink, "one\n");
        append(&mut sink, "two\n");
        sink.flush();
        let mut datagram = [0; 500];
        for expected in ["one", "two"] {
            let length = daemon.recv(&mut datagram).expect("datagram");
            let text = std::str::from_utf8(&datagram[..length]).expect("text");
            assert!(text.starts_with("<190>1 1970-01-01T00:00:00.000Z "), "{text}");
            assert!(text.ends_with(&format!(" access - {expected}")), "{text}");
        }
        assert_eq!(sink.counts.dropped_lines, 1);
    }
}
