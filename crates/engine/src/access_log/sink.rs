//! Where log lines go, and the buffer before it.
//!
//! How it works: the buffer holds whole lines only. A regular file, opened for appending, gets all of them in one
//! write(2), which the kernel keeps together, so that several workers can share the file. A pipe or terminal keeps
//! together only `PIPE_BUF` bytes and may be full: it gets whole lines in pieces of that size, each only when there is
//! room, so that a slow reader never stalls a worker. What finds no room waits, up to a bound; then new lines are
//! dropped and counted.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::syslog::{Address, Syslog};

/// What Linux keeps together in a pipe, and surely takes when it says there is room (pipe(7)).
const PIPE_BUF: usize = 4096;
/// A slow reader may let this many full buffers pile up ...
const WAITING_BUFFERS: usize = 4;
/// ... but at least this much.
const MIN_WAITING_BYTES: usize = 256 * 1024;
/// When nothing more may wait, one line in so many asks whether there is room again.
const LINES_PER_RETRY: u64 = 16;
/// Access logs name people: they are for the owner and the group.
const FILE_MODE: u32 = 0o640;
const SYSLOG_PORT: u16 = 514;

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
    /// The datagram socket of a local syslog daemon, usually `/dev/log`.
    SyslogUnix(PathBuf),
    /// `host:port` of a syslog server over UDP.
    SyslogUdp(String),
}

/// A destination that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such access log destination: `{text}`; hint: use `stdout`, `stderr`, `file:/path`, `syslog:/dev/log` or \
     `syslog:udp://host:port`"
)]
pub struct DestinationError {
    text: String,
}

impl Destination {
    /// Reads `stdout`, `stderr`, `file:/path`, `syslog:/path` or `syslog:udp://host[:port]` (port 514 by default).
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let refused = || DestinationError {
            text: text.to_owned(),
        };
        match text.split_once(':') {
            None if text == "stdout" => Ok(Self::Stdout),
            None if text == "stderr" => Ok(Self::Stderr),
            Some(("file", path)) if is_path(path) => Ok(Self::File(path.into())),
            Some(("syslog", path)) if path.starts_with('/') && is_path(path) => {
                Ok(Self::SyslogUnix(path.into()))
            }
            Some(("syslog", url)) => url
                .strip_prefix("udp://")
                .and_then(with_port)
                .map(Self::SyslogUdp)
                .ok_or_else(refused),
            _ => Err(refused()),
        }
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// `host:port`, with the port of syslog if `authority` has none.
fn with_port(authority: &str) -> Option<String> {
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => None,
        Some(("", _)) if after_host == 0 => None,
        Some((host, _)) if host.contains(':') => None,
        Some(_) => Some(authority.to_owned()),
        None if authority.is_empty() => None,
        None => Some(format!("{authority}:{SYSLOG_PORT}")),
    }
}

/// How much of a log could not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines that were lost.
    pub dropped_lines: u64,
    /// Writes that failed; a full pipe is none.
    pub failed_writes: u64,
}

/// The buffered end of one worker's log.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// A flush is tried when the buffer is this long: more than `buffer_bytes` while a reader is slow.
    flush_at: usize,
    /// The last write ended inside a line.
    is_torn: bool,
    counts: LogCounts,
}

#[derive(Debug)]
enum Target {
    /// `path` is none for a standard stream.
    Stream {
        stream: OwnedFd,
        is_regular: bool,
        path: Option<PathBuf>,
    },
    Syslog(Syslog),
}

impl Sink {
    pub(super) fn open(destination: Destination, buffer_bytes: usize) -> io::Result<Self> {
        let target = match destination {
            Destination::Stdout => Target::standard(io::stdout().as_fd().try_clone_to_owned()?)?,
            Destination::Stderr => Target::standard(io::stderr().as_fd().try_clone_to_owned()?)?,
            Destination::File(path) => {
                let (stream, is_regular) = open_file(&path)?;
                Target::Stream {
                    stream,
                    is_regular,
                    path: Some(path),
                }
            }
            Destination::SyslogUnix(path) => Target::Syslog(Syslog::open(Address::Unix(path))),
            Destination::SyslogUdp(host) => Target::Syslog(Syslog::open(Address::Udp(resolve(&host)?))),
        };
        Ok(Self {
            target,
            buffer: Vec::new(),
            buffer_bytes,
            flush_at: buffer_bytes,
            is_torn: false,
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
        let written = match &mut self.target {
            Target::Syslog(syslog) => {
                syslog.send_lines(&self.buffer, &mut self.counts);
                self.buffer.len()
            }
            Target::Stream {
                stream,
                is_regular: true,
                ..
            } => {
                write_file(stream, &self.buffer, &mut self.is_torn, &mut self.counts);
                self.buffer.len()
            }
            Target::Stream {
                stream,
                is_regular: false,
                ..
            } => write_while_there_is_room(stream, &self.buffer, &mut self.is_torn, &mut self.counts),
        };
        self.buffer.drain(..written);
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
            Target::Stream {
                stream,
                is_regular,
                path: Some(path),
            } => {
                (*stream, *is_regular) = open_file(path)?;
                self.is_torn = false;
            }
            Target::Stream { path: None, .. } => {}
            Target::Syslog(syslog) => syslog.disconnect(),
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> LogCounts {
        self.counts
    }
}

impl Target {
    fn standard(stream: OwnedFd) -> io::Result<Self> {
        let file = File::from(stream);
        let is_regular = file.metadata()?.is_file();
        Ok(Self::Stream {
            stream: file.into(),
            is_regular,
            path: None,
        })
    }
}

fn open_file(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let is_regular = file.metadata()?.is_file();
    Ok((file.into(), is_regular))
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

/// One write(2) for all lines. A second one only where the disk is nearly full and took a part.
fn write_file(stream: &OwnedFd, mut lines: &[u8], is_torn: &mut bool, counts: &mut LogCounts) {
    if *is_torn
        && !lines.is_empty()
        && rustix::io::retry_on_intr(|| rustix::io::write(stream, b"\n")) == Ok(1)
    {
        *is_torn = false;
    }
    while !lines.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(stream, lines)) {
            Ok(written) if written > 0 => {
                *is_torn = lines[written - 1] != b'\n';
                lines = &lines[written..];
            }
            _ => {
                counts.failed_writes += 1;
                counts.dropped_lines += count_lines(lines);
                return;
            }
        }
    }
}

/// Writes pieces of whole lines while the stream takes them without blocking; returns the bytes that are dealt with.
fn write_while_there_is_room(
    stream: &OwnedFd,
    lines: &[u8],
    is_torn: &mut bool,
    counts: &mut LogCounts,
) -> usize {
    let mut done = 0;
    while done < lines.len() {
        let piece = &lines[done..done + whole_lines(&lines[done..])];
        if !has_room(stream) {
            break;
        }
        let failed_before = counts.failed_writes;
        match rustix::io::retry_on_intr(|| rustix::io::write(stream, piece)) {
            Err(Errno::AGAIN) => break,
            Ok(written) if written == piece.len() => *is_torn = false,
            Ok(written) if written > 0 => write_file(stream, &piece[written..], is_torn, counts),
            _ => {
                counts.failed_writes += 1;
                counts.dropped_lines += count_lines(piece);
            }
        }
        done += piece.len();
        if counts.failed_writes > failed_before {
            // Nobody reads any more: the rest would fail one piece at a time.
            counts.dropped_lines += count_lines(&lines[done..]);
            return lines.len();
        }
    }
    done
}

/// Whether a write of `PIPE_BUF` bytes would not block. A broken stream has room: the write then says what is wrong.
fn has_room(stream: &OwnedFd) -> bool {
    let mut streams = [PollFd::new(stream, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::io::retry_on_intr(|| poll(&mut streams, Some(&at_once))) != Ok(0)
}

/// Length of the whole lines within `PIPE_BUF` bytes, or of the first line if that is longer.
fn whole_lines(lines: &[u8]) -> usize {
    let fitting = &lines[..lines.len().min(PIPE_BUF)];
    let end = memchr::memrchr(b'\n', fitting).or_else(|| memchr::memchr(b'\n', lines));
    end.map_or(lines.len(), |end| end + 1)
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn open(destination: &str, buffer_bytes: usize) -> Sink {
        Sink::open(Destination::parse(destination).expect("valid"), buffer_bytes).expect("opens")
    }

    fn piped() -> (File, Sink) {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let mut sink = open("stderr", 1000);
        sink.target = Target::Stream {
            stream: writer,
            is_regular: false,
            path: None,
        };
        (File::from(reader), sink)
    }

    fn append(sink: &mut Sink, text: &str) {
        sink.append(0, |line| line.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn destinations_are_read_and_others_refused() {
        let parse = |text| Destination::parse(text).map_err(|error| error.to_string());
        assert_eq!(parse("stdout"), Ok(Destination::Stdout));
        assert_eq!(parse("file:/a:b"), Ok(Destination::File("/a:b".into())));
        assert_eq!(
            parse("syslog:/dev/log"),
            Ok(Destination::SyslogUnix("/dev/log".into()))
        );
        assert_eq!(
            parse("syslog:udp://logs:5140"),
            Ok(Destination::SyslogUdp("logs:5140".into()))
        );
        assert_eq!(
            parse("syslog:udp://logs"),
            Ok(Destination::SyslogUdp("logs:514".into()))
        );
        assert_eq!(
            parse("syslog:udp://[::1]"),
            Ok(Destination::SyslogUdp("[::1]:514".into()))
        );
        assert_eq!(
            parse("syslog:udp://[::1]:5"),
            Ok(Destination::SyslogUdp("[::1]:5".into()))
        );
        for text in [
            "",
            "file:",
            "/var/log/a",
            "syslog:",
            "syslog:tcp://a:1",
            "syslog:udp://",
            "syslog:udp://:1",
            "syslog:udp://a:b",
            "syslog:udp://::1:5",
            "stdout:",
        ] {
            assert!(
                parse(text).is_err_and(|error| error.contains(&format!("`{text}`; hint: "))),
                "{text}"
            );
        }
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
        assert_eq!(sink.counts(), LogCounts::default());
    }

    #[test]
    fn full_disk_is_counted_and_harmless() {
        let mut sink = open("file:/dev/full", 1000);
        append(&mut sink, "one\n");
        append(&mut sink, "two\n");
        sink.flush();
        assert_eq!(
            sink.counts(),
            LogCounts {
                dropped_lines: 2,
                failed_writes: 1
            }
        );
        assert!(!sink.has_waiting());
    }

    #[test]
    fn torn_line_is_ended_before_the_next() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let mut sink = open(&format!("file:{}", path.display()), 1000);
        sink.is_torn = true;
        append(&mut sink, "whole\n");
        sink.flush();
        assert_eq!(std::fs::read(path).expect("file"), b"\nwhole\n");
    }

    #[test]
    fn slow_reader_of_a_pipe_never_blocks_and_gets_whole_lines() {
        let (mut reader, mut sink) = piped();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..10_000 {
            append(&mut sink, &line);
        }
        let dropped = sink.counts().dropped_lines;
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
            sink.counts(),
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
            sink.counts(),
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
        assert_eq!(sink.counts().dropped_lines, 1);
    }
}
