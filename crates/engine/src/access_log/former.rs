//! The logs of configurations that are no longer in force, while requests in flight may still write into them.
//!
//! # How it works
//! A request keeps the configuration that it began with, whose log would have nobody to write its lines until the last such
//! request ends: a connection that is open for hours. So they are kept here as well, until nobody else has them.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::{AccessLog, LogCounts};

/// All of one worker.
#[derive(Debug, Default)]
pub struct FormerLogs {
    all: RefCell<Vec<Rc<AccessLog>>>,
}

impl FormerLogs {
    /// Keeps one whose configuration has just been replaced.
    pub fn keep(&self, log: Rc<AccessLog>) {
        log.flush();
        self.all.borrow_mut().push(log);
    }

    /// Writes what is due, and lets go of those that no request can write into any more; what could not be written.
    pub fn sweep(&self, now_ms: u64) -> LogCounts {
        let mut lost = LogCounts::default();
        self.all.borrow_mut().retain(|log| {
            let is_last = Rc::strong_count(log) == 1;
            if is_last {
                log.flush();
            } else {
                log.flush_if_due(now_ms);
            }
            lost += log.take_counts();
            !is_last || log.has_waiting()
        });
        lost
    }

    /// Whether a flush would write anything.
    pub fn has_waiting(&self) -> bool {
        self.all.borrow().iter().any(|log| log.has_waiting())
    }

    /// Writes what is waiting.
    pub fn flush(&self) {
        self.all.borrow().iter().for_each(|log| log.flush());
    }

    /// Opens their files by their names again; all are tried, and the first failure is told.
    pub fn reopen(&self) -> io::Result<()> {
        let all = self.all.borrow();
        all.iter().map(|log| log.reopen()).fold(Ok(()), io::Result::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::{Destination, Entry, Format};

    fn open(to: &str) -> Rc<AccessLog> {
        let destination = Destination::parse(to).expect("valid destination");
        let format = Format::parse("{status}").expect("valid format");
        Rc::new(AccessLog::open(format, destination, 4096, 1000).expect("opens"))
    }

    #[test]
    fn lines_of_a_request_in_flight_are_written_when_due_and_the_log_is_let_go_of_with_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let read = || std::fs::read(&path).expect("file");
        let log = open(&format!("file:{}", path.display()));
        let former = FormerLogs::default();
        former.keep(Rc::clone(&log));
        former.sweep(5_000);
        log.record(&Entry::default());
        assert!(former.has_waiting());
        former.sweep(5_900);
        assert_eq!(read(), b"");
        former.sweep(6_000);
        assert_eq!(read(), b"0\n");
        log.record(&Entry::default());
        drop(log);
        former.sweep(6_001);
        assert_eq!(read(), b"0\n0\n");
        assert!(former.all.borrow().is_empty());
    }

    #[test]
    fn what_is_lost_is_told_once() {
        let (log, former) = (open("file:/dev/full"), FormerLogs::default());
        former.keep(Rc::clone(&log));
        log.record(&Entry::default());
        drop(log);
        assert_eq!(former.sweep(1).dropped_lines, 1);
        assert_eq!(former.sweep(2), LogCounts::default());
    }
}
