//! The access log: one line a request, formatted at once, written in batches.
//!
//! A worker calls [`AccessLog::record`] for each request (no system call unless the buffer is full) and
//! [`AccessLog::flush`] at its interval. Losing the log never harms a request: lines that cannot be written are
//! counted and dropped.

mod combined;
mod destination;
mod entry;
mod escape;
mod field;
mod followers;
mod format;
mod format_error;
mod former;
mod json;
mod sink;
mod steps;
mod stream;
mod syslog;
mod timestamp;

use std::cell::{Cell, RefCell};
use std::io;

pub use destination::Destination;
pub use entry::{Entry, HookTime, TlsFacts};
pub use followers::Followers;
pub use format::Format;
pub use former::FormerLogs;
pub use sink::LogCounts;
pub use steps::{Step, StepKind, Steps};

use sink::Sink;

/// One worker's access log. Nothing here fails a request: see [`AccessLog::take_counts`].
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    sink: RefCell<Sink>,
    flush_ms: u64,
    flushed_ms: Cell<u64>,
}

impl AccessLog {
    /// Opens `destination`. A batch is written when `buffer_bytes` are waiting (0: each line at once) or at a flush,
    /// every `flush_ms` of whoever asks.
    ///
    /// Fails if a file or the standard stream cannot be opened or the host of a syslog server is not found. A local
    /// syslog daemon may be absent: it is tried again at each flush.
    pub fn open(
        format: Format,
        destination: Destination,
        buffer_bytes: usize,
        flush_ms: u64,
    ) -> io::Result<Self> {
        let sink = Sink::open(destination, buffer_bytes)?;
        Ok(Self {
            format,
            sink: RefCell::new(sink),
            flush_ms,
            flushed_ms: Cell::new(0),
        })
    }

    /// Adds the line of one request; writes the batch if the buffer is full.
    pub fn record(&self, entry: &Entry<'_>) {
        self.sink
            .borrow_mut()
            .append(entry.time_unix_ms, |line| self.format.write(entry, line));
    }

    /// Whether its lines contain the time of each hook.
    pub fn shows_hooks(&self) -> bool {
        self.format.shows_hooks()
    }

    /// Writes what is waiting.
    pub fn flush(&self) {
        self.sink.borrow_mut().flush();
    }

    /// The same if it is time again.
    pub fn flush_if_due(&self, now_ms: u64) {
        if now_ms >= self.flushed_ms.get() + self.flush_ms {
            self.flushed_ms.set(now_ms);
            self.flush();
        }
    }

    /// Whether a flush would write anything.
    pub fn has_waiting(&self) -> bool {
        self.sink.borrow().has_waiting()
    }

    /// Writes what is waiting, then opens the file by its name again (after rotation). On failure the old one stays.
    pub fn reopen(&self) -> io::Result<()> {
        self.sink.borrow_mut().reopen()
    }

    /// How much could not be written since this was asked last.
    pub fn take_counts(&self) -> LogCounts {
        self.sink.borrow_mut().take_counts()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log_to(path: &std::path::Path, format: &str, buffer_bytes: usize) -> AccessLog {
        let destination = Destination::parse(&format!("file:{}", path.display())).expect("valid destination");
        let format = Format::parse(format).expect("valid format");
        AccessLog::open(format, destination, buffer_bytes, 0).expect("the directory is there")
    }

    #[test]
    fn lines_wait_for_the_flush_and_come_in_order() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("access.log");
        let log = log_to(&path, "{status}", 4096);
        log.record(&Entry {
            status: 200,
            ..Entry::default()
        });
        log.record(&Entry {
            status: 404,
            ..Entry::default()
        });
        assert_eq!(fs::read(&path).expect("file is there"), b"");
        assert!(log.has_waiting());
        log.flush();
        assert!(!log.has_waiting());
        assert_eq!(fs::read(&path).expect("file is there"), b"200\n404\n");
    }

    #[test]
    fn dropping_the_log_writes_the_rest() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("access.log");
        log_to(&path, "{method}", 4096).record(&Entry {
            method: b"GET",
            ..Entry::default()
        });
        assert_eq!(fs::read(&path).expect("file is there"), b"GET\n");
    }

    #[test]
    fn workers_sharing_a_file_never_mix_lines() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("access.log");
        std::thread::scope(|scope| {
            for worker in ["a", "b", "c"] {
                let path = &path;
                scope.spawn(move || {
                    let log = log_to(path, "{target}", 500);
                    let target = worker.repeat(97);
                    for _ in 0..500 {
                        log.record(&Entry {
                            target: target.as_bytes(),
                            ..Entry::default()
                        });
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("file is there");
        assert_eq!(text.lines().count(), 1500);
        assert!(text
            .lines()
            .all(|line| line.len() == 97 && line.bytes().all(|byte| byte == line.as_bytes()[0])));
    }
}
