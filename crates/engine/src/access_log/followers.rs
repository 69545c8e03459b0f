//! Who follows the log from outside: the `json` line of each request, sent at once over a socket; see `headgate logs`.
//!
//! How it works: the socket is a sequence of packets (unix(7), `SOCK_SEQPACKET`), so that a message is a line and the end of
//! its reader is noticed by the next one. A reader that is slow loses lines, and is told how many before the next that
//! there is room for. Nothing here waits, and without followers nothing is done.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{send, SendFlags};

use super::entry::Entry;
use super::json;
use super::timestamp::Timestamps;

/// All that follow one worker.
#[derive(Debug)]
pub struct Followers {
    all: RefCell<Vec<Follower>>,
    is_followed: Cell<bool>,
    times: Timestamps,
}

#[derive(Debug)]
struct Follower {
    socket: OwnedFd,
    /// Lines that its reader was too slow for, and has not been told of.
    dropped: u64,
}

impl Followers {
    /// Nobody follows.
    pub fn new() -> Self {
        Self {
            all: RefCell::default(),
            is_followed: Cell::new(false),
            times: Timestamps::new(),
        }
    }

    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.is_followed.get()
    }

    /// Sends a line of each request from now on; forgets those whose reader has gone.
    pub fn add(&self, socket: OwnedFd) {
        let mut all = self.all.borrow_mut();
        all.retain(|follower| has_reader(&follower.socket));
        all.push(Follower { socket, dropped: 0 });
        self.is_followed.set(true);
    }

    /// Sends the line of one request to each.
    pub fn record(&self, entry: &Entry<'_>) {
        let mut line = Vec::with_capacity(512);
        json::write(entry, &self.times, &mut line);
        let mut all = self.all.borrow_mut();
        all.retain_mut(|follower| follower.send(&line));
        self.is_followed.set(!all.is_empty());
    }
}

impl Follower {
    /// Sends a line, or counts it as lost; false if its reader has gone.
    fn send(&mut self, line: &[u8]) -> bool {
        if self.dropped > 0 {
            let told = format!("{{\"dropped\":{}}}", self.dropped);
            match self.try_send(told.as_bytes()) {
                Some(true) => self.dropped = 0,
                Some(false) => self.dropped += 1,
                None => return false,
            }
            if self.dropped > 0 {
                return true;
            }
        }
        match self.try_send(line) {
            Some(true) => true,
            Some(false) => {
                self.dropped += 1;
                true
            }
            None => false,
        }
    }

    /// Whether there was room for it; none if the reader has gone.
    fn try_send(&self, message: &[u8]) -> Option<bool> {
        match send(&self.socket, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN | Errno::INTR | Errno::MSGSIZE | Errno::NOBUFS) => Some(false),
            Err(_) => None,
        }
    }
}

fn has_reader(socket: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let found = poll(&mut descriptors, Some(&now));
    found.is_err() || !descriptors[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use rustix::net::{recv, socketpair, AddressFamily, RecvFlags, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair of sockets")
    }

    fn read(socket: &OwnedFd) -> Option<serde_json::Value> {
        let mut message = [0; 4096];
        let (length, _) = recv(socket, &mut message, RecvFlags::DONTWAIT).ok()?;
        serde_json::from_slice(&message[..length]).ok()
    }

    fn entry(status: u16) -> Entry<'static> {
        Entry {
            status,
            ..Entry::default()
        }
    }

    #[test]
    fn each_line_is_a_message_to_each_follower() {
        let followers = Followers::new();
        assert!(!followers.is_followed());
        let (one, two) = (pair(), pair());
        followers.add(one.0);
        followers.record(&entry(200));
        followers.add(two.0);
        followers.record(&entry(404));
        let statuses = |socket| {
            std::iter::from_fn(|| read(socket))
                .map(|line| line["status"].as_u64())
                .collect::<Vec<_>>()
        };
        assert_eq!(statuses(&one.1), [Some(200), Some(404)]);
        assert_eq!(statuses(&two.1), [Some(404)]);
    }

    #[test]
    fn a_slow_reader_loses_lines_and_is_told_how_many() {
        let followers = Followers::new();
        let (ours, theirs) = pair();
        followers.add(ours);
        for _ in 0..10_000 {
            followers.record(&entry(200));
        }
        let had_room = std::iter::from_fn(|| read(&theirs)).count();
        assert!((1..10_000).contains(&had_room), "{had_room}");
        followers.record(&entry(201));
        let dropped = read(&theirs).expect("a message")["dropped"].as_u64();
        assert_eq!(dropped, Some(10_000 - had_room as u64));
        assert_eq!(read(&theirs).expect("a message")["status"], 201);
    }

    #[test]
    fn followers_that_have_gone_are_forgotten() {
        let followers = Followers::new();
        let (ours, theirs) = pair();
        followers.add(ours);
        drop(theirs);
        followers.record(&entry(200));
        assert!(!followers.is_followed());

        let (ours, theirs) = pair();
        followers.add(ours);
        drop(theirs);
        let (ours, _theirs) = pair();
        followers.add(ours);
        assert_eq!(followers.all.borrow().len(), 1);
    }
}
