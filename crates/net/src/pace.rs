//! Bandwidth limits: a stream whose bytes go no faster than they may.
//!
//! # How it works
//! A [`Pace`] is a token bucket kept as one number, its ledger: the moment at which all bytes so far would have gone at the
//! allowed rate (the virtual scheduling algorithm of ATM, ITU-T I.371; "GCRA"). A transfer may run ahead of that by
//! [`BURST_US`], and one that must wait goes on when half of that is free. So several transfers, in several processes if the
//! ledger is in shared memory, share a bandwidth without a lock. A paced stream has no descriptor, so that nothing goes past it
//! in the kernel.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};
use tokio::time::{sleep, Instant, Sleep};

use crate::peer::Peer;
use crate::stream::Stream;
use crate::virtual_stream::{Duplex, Peek};

/// How far a transfer may run ahead, in microseconds of its rate.
const BURST_US: u64 = 100_000;

/// What must be free before one that waits goes on, likewise.
const QUANTUM_US: u64 = 50_000;

/// A moment in microseconds, 0 at first, that several may advance.
pub trait Ledger {
    /// The moment.
    fn load(&self) -> u64;

    /// Sets it, if it is `from`; false if somebody was faster.
    fn exchange(&self, from: u64, to: u64) -> bool;
}

impl Ledger for Cell<u64> {
    fn load(&self) -> u64 {
        self.get()
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        let is_it = self.get() == from;
        if is_it {
            self.set(to);
        }
        is_it
    }
}

/// One limit of a transfer in one direction.
#[derive(Clone)]
pub struct Pace {
    bytes_per_second: u64,
    ledger: Rc<dyn Ledger>,
}

impl Pace {
    /// So many bytes a second, from 1, over all who have this ledger.
    #[must_use]
    pub fn new(bytes_per_second: u64, ledger: Rc<dyn Ledger>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            ledger,
        }
    }

    /// How many bytes may go now, at least one; or for how many microseconds to wait.
    fn allowance(&self, now_us: u64) -> Result<usize, u64> {
        let ahead_us = self.ledger.load().saturating_sub(now_us);
        let most_us = BURST_US - QUANTUM_US;
        if ahead_us > most_us {
            return Err(ahead_us - most_us);
        }
        let bytes = u128::from(BURST_US - ahead_us) * u128::from(self.bytes_per_second) / 1_000_000;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX).max(1))
    }

    /// So many bytes went.
    fn took(&self, bytes: usize, now_us: u64) {
        let us = (bytes as u128 * 1_000_000).div_ceil(u128::from(self.bytes_per_second));
        let us = u64::try_from(us).unwrap_or(u64::MAX);
        loop {
            let at = self.ledger.load();
            if self.ledger.exchange(at, at.max(now_us).saturating_add(us)) {
                return;
            }
        }
    }
}

/// One direction of a stream.
struct Direction {
    paces: Vec<Pace>,
    timer: Pin<Box<Sleep>>,
    /// What was offered to the stream when it took nothing: it must be offered again.
    offered: Option<usize>,
}

impl Direction {
    fn new(paces: Vec<Pace>) -> Self {
        Self {
            paces,
            timer: Box::pin(sleep(Duration::ZERO)),
            offered: None,
        }
    }

    /// How many bytes may go.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        loop {
            let now_us = now_us();
            let (mut most, mut wait_us) = (usize::MAX, 0);
            for pace in &self.paces {
                match pace.allowance(now_us) {
                    Ok(bytes) => most = most.min(bytes),
                    Err(us) => wait_us = wait_us.max(us),
                }
            }
            if wait_us == 0 {
                return Poll::Ready(most);
            }
            self.timer
                .as_mut()
                .reset(Instant::now() + Duration::from_micros(wait_us));
            ready!(self.timer.as_mut().poll(context));
        }
    }

    fn took(&self, bytes: usize) {
        let now_us = now_us();
        self.paces.iter().for_each(|pace| pace.took(bytes, now_us));
    }
}

/// A stream under bandwidth limits.
struct Paced {
    below: Rc<RefCell<Stream>>,
    read: Direction,
    write: Direction,
}

/// Takes limits off a stream again.
pub struct Unpace(Rc<RefCell<Stream>>);

/// Puts a peer's stream under limits: what is read of it, and what is written to it. What was read already counts.
#[must_use]
pub fn pace(peer: &mut Peer, read: Vec<Pace>, write: Vec<Pace>) -> Unpace {
    let below = std::mem::replace(&mut peer.stream, Stream::nowhere());
    let below = Rc::new(RefCell::new(below));
    let read = Direction::new(read);
    read.took(peer.unread().len());
    peer.stream = Stream::Virtual(Box::new(Paced {
        below: Rc::clone(&below),
        read,
        write: Direction::new(write),
    }));
    Unpace(below)
}

impl Unpace {
    /// The peer has its stream again.
    pub fn restore(self, peer: &mut Peer) {
        peer.stream = self.0.replace(Stream::nowhere());
    }
}

impl Duplex for Paced {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.read.poll(context));
        let read = self
            .below
            .borrow_mut()
            .poll_read(context, buffer, limit.min(most));
        if let Poll::Ready(Ok(n)) = &read {
            self.read.took(*n);
        }
        read
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = match self.write.offered {
            Some(offered) => offered,
            None => ready!(self.write.poll(context)),
        };
        let (first, left) = (&first[..first.len().min(most)], most.saturating_sub(first.len()));
        let second = &second[..second.len().min(left)];
        let written = self.below.borrow_mut().poll_write(context, first, second);
        match &written {
            Poll::Ready(Ok(n)) => {
                self.write.offered = None;
                self.write.took(*n);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.write.offered = Some(most),
        }
        written
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.borrow_mut().poll_shutdown(context)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.borrow_mut().poll_read_ready(context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.borrow().poll_write_ready(context)
    }

    fn carried(&self) -> u64 {
        self.below.borrow().carried()
    }

    fn peek(&self) -> Peek {
        self.below.borrow_mut().peek()
    }
}

/// The system's monotonic clock, which all processes share.
fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_stream::virtual_pair;

    /// What goes in so many microseconds, by transfers that always have more.
    fn moved(paces: &[Pace], for_us: u64) -> usize {
        let mut total = 0;
        let begin_us = 1_000_000_000;
        for now_us in (begin_us..begin_us + for_us).step_by(1_000) {
            for pace in paces {
                while let Ok(bytes) = pace.allowance(now_us) {
                    let bytes = bytes.min(16_384);
                    pace.took(bytes, now_us);
                    total += bytes;
                }
            }
        }
        total
    }

    #[test]
    fn no_more_goes_than_may_and_hardly_less() {
        for rate in [1_000, 64_000, 1_000_000, 500_000_000] {
            let pace = Pace::new(rate, Rc::new(Cell::new(0_u64)));
            let total = moved(&[pace], 10_000_000) as u64;
            assert!(
                (rate * 99 / 10..=rate * 103 / 10 + 16_384).contains(&total),
                "{rate}: {total}"
            );
        }
    }

    #[test]
    fn those_of_one_ledger_share_it() {
        let ledger: Rc<dyn Ledger> = Rc::new(Cell::new(0_u64));
        let all: Vec<Pace> = (0..10)
            .map(|_| Pace::new(1_000_000, Rc::clone(&ledger)))
            .collect();
        let total = moved(&all, 10_000_000);
        assert!((9_900_000..=10_300_000).contains(&total), "{total}");
    }

    #[test]
    fn a_pause_does_not_save_up_more_than_a_burst() {
        let pace = Pace::new(1_000_000, Rc::new(Cell::new(0_u64)));
        pace.took(1, 1);
        assert_eq!(pace.allowance(3_600_000_000), Ok(100_000));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stream_is_as_it_was_once_its_limits_are_off() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (near, mut far) = virtual_pair();
        let mut peer = Peer::new(Stream::Virtual(Box::new(near)), Rc::default());
        let slow = || vec![Pace::new(1_000_000, Rc::new(Cell::new(0_u64)) as Rc<dyn Ledger>)];
        let unpace = pace(&mut peer, slow(), slow());
        let began = Instant::now();
        let body = vec![b'x'; 300_000];
        let sent = async {
            let mut at = 0;
            while at < body.len() {
                at += std::future::poll_fn(|context| peer.stream.poll_write(context, &body[at..], &[]))
                    .await
                    .expect("it is open");
            }
        };
        let mut seen = vec![0; 300_000];
        let ((), read) = tokio::join!(sent, far.read_exact(&mut seen));
        read.expect("all has come");
        assert!(
            began.elapsed() >= Duration::from_millis(150),
            "300 KB at 1 MB/s, a burst of 100 KB at once"
        );
        unpace.restore(&mut peer);
        far.write_all(b"hello").await.expect("it is open");
        let mut buffer = Vec::with_capacity(16);
        let n = std::future::poll_fn(|context| peer.stream.poll_read(context, &mut buffer, 16)).await;
        assert_eq!((n.ok(), &buffer[..]), (Some(5), &b"hello"[..]));
    }
}
