//! Idle connections to a server, the most recently used first.
//!
//! # How it works
//! Some are dialled by the server's side, through a tunnel: such a one is [`Pooled::reversed`], and comes by itself. While there
//! are such, others are not kept: those go through the tunnel's broker, and cost more.

use std::cell::{Cell, RefCell};

use headgate_net::peer::Peer;

/// See the module.
#[derive(Default)]
pub struct Pool {
    #[allow(
        clippy::vec_box,
        reason = "they go through many hands while a request is forwarded"
    )]
    idle: RefCell<Vec<Box<Pooled>>>,
    /// Whether the server's side has dialled connections, which are then the only ones to be kept.
    is_reversed: Cell<bool>,
    /// Its server is gone: none are kept any more.
    is_retired: Cell<bool>,
}

/// A connection that may serve more requests.
pub struct Pooled {
    /// The server.
    pub peer: Peer,
    /// Requests it has served.
    pub served: u64,
    /// It speaks for one client, and is kept for no other.
    pub is_bound: bool,
    /// When it became idle, on the worker's clock.
    pub since_ms: u64,
    /// From when on it takes no more requests, on that clock: see [`crate::spec::Keepalive::end_ms`].
    pub end_ms: u64,
    /// Of one that the server's side has dialled: the connection to who has let it in, and ends it by closing this.
    pub leash: Option<Box<Peer>>,
}

impl Pooled {
    /// A connection that has served so many requests.
    #[allow(clippy::unnecessary_box_returns, reason = "it stays boxed, as in the pool")]
    #[inline]
    pub fn new(peer: Peer, served: u64) -> Box<Self> {
        Box::new(Self {
            peer,
            served,
            is_bound: false,
            since_ms: 0,
            end_ms: u64::MAX,
            leash: None,
        })
    }

    /// A connection that the server's side has dialled; it is usable until something comes on `leash`, which may be its end.
    #[allow(clippy::unnecessary_box_returns, reason = "it stays boxed, as in the pool")]
    pub fn reversed(peer: Peer, leash: Peer, now_ms: u64) -> Box<Self> {
        Box::new(Self {
            peer,
            served: 0,
            is_bound: false,
            since_ms: now_ms.max(1),
            end_ms: u64::MAX,
            leash: Some(Box::new(leash)),
        })
    }

    /// Nothing has come from the server since its last response: neither its end nor unrequested bytes.
    ///
    /// The loop has seen every event by the time a request is read, so that this asks no system call of most.
    pub fn is_usable(&mut self) -> bool {
        !self.peer.stream.has_news() && self.leash.as_mut().is_none_or(|leash| !leash.stream.has_news())
    }
}

impl Pool {
    /// Takes a usable connection; dead ones met on the way are closed.
    pub fn take(&self) -> Option<Box<Pooled>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut pooled) = idle.pop() {
            if pooled.is_usable() {
                return Some(pooled);
            }
        }
        self.is_reversed.set(false);
        None
    }

    /// Keeps a connection, unless there are `max_idle` already, or there are such that the server's side has dialled.
    #[inline]
    pub fn give(&self, pooled: Box<Pooled>, max_idle: usize) {
        if self.is_retired.get() {
            return;
        }
        if pooled.leash.is_some() {
            self.is_reversed.set(true);
        } else if self.is_reversed.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < max_idle {
            idle.push(pooled);
        }
    }

    /// Closes them all.
    pub fn clear(&self) {
        // outside the borrow: what closes may be anything
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
    }

    /// Closes them all, and keeps none from here on.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.clear();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Closes what has been idle for `idle_timeout_ms` or has become too old, and what its server closed.
    #[inline]
    pub fn sweep(&self, now_ms: u64, idle_timeout_ms: u64) {
        self.idle.borrow_mut().retain_mut(|pooled| {
            let is_idle_too_long = now_ms.saturating_sub(pooled.since_ms) >= idle_timeout_ms;
            !is_idle_too_long && now_ms < pooled.end_ms && pooled.is_usable()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use headgate_net::stream::Stream;
    use headgate_net::virtual_stream::{virtual_pair, VirtualEnd};

    use super::*;

    fn connection(since_ms: u64) -> (Box<Pooled>, VirtualEnd) {
        let (near, far) = virtual_pair();
        let peer = Peer::new(Stream::Virtual(Box::new(near)), Rc::default());
        let mut pooled = Pooled::new(peer, since_ms);
        pooled.since_ms = since_ms;
        (pooled, far)
    }

    #[test]
    fn the_most_recently_used_goes_first() {
        let pool = Pool::default();
        let (old, _server) = connection(1);
        let (new, _other) = connection(2);
        pool.give(old, 8);
        pool.give(new, 8);
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(2));
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(1));
        assert!(pool.take().is_none() && pool.is_empty());
    }

    #[test]
    fn one_that_its_server_closed_is_passed_over() {
        let pool = Pool::default();
        let (alive, _server) = connection(1);
        let (dead, gone) = connection(2);
        pool.give(alive, 8);
        pool.give(dead, 8);
        drop(gone);
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(1));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_with_unrequested_bytes_is_skipped() {
        use tokio::io::AsyncWriteExt;
        let pool = Pool::default();
        let (odd, mut server) = connection(1);
        pool.give(odd, 8);
        server.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        assert!(pool.take().is_none());
    }

    #[test]
    fn no_more_are_kept_than_wanted() {
        let pool = Pool::default();
        let kept: Vec<_> = (0..5).map(connection).collect();
        let servers: Vec<_> = kept
            .into_iter()
            .map(|(pooled, server)| {
                pool.give(pooled, 3);
                server
            })
            .collect();
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 3);
        drop(servers);
    }

    fn reversed() -> (Box<Pooled>, VirtualEnd, VirtualEnd) {
        let (near, far) = virtual_pair();
        let (leash, holder) = virtual_pair();
        let [peer, leash] = [near, leash].map(|end| Peer::new(Stream::Virtual(Box::new(end)), Rc::default()));
        (Pooled::reversed(peer, leash, 7), far, holder)
    }

    #[test]
    fn what_the_servers_side_has_dialled_is_kept_and_nothing_else_beside_it() {
        let pool = Pool::default();
        let (own, _server) = connection(1);
        let (other, _other) = connection(2);
        let (later, _later) = connection(3);
        let (dialled, _far, _holder) = reversed();
        pool.give(own, 8);
        pool.give(dialled, 8);
        pool.give(other, 8);
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(7));
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(1));
        assert!(pool.take().is_none());
        pool.give(later, 8);
        assert_eq!(pool.count(), 1, "without such ones others are kept again");
    }

    #[test]
    fn one_whose_leash_is_let_go_is_passed_over() {
        let pool = Pool::default();
        let (dialled, _far, holder) = reversed();
        pool.give(dialled, 8);
        drop(holder);
        assert!(pool.take().is_none());
        let (dialled, _far, holder) = reversed();
        pool.give(dialled, 8);
        drop(holder);
        pool.sweep(8, 1_000);
        assert!(pool.is_empty());
    }

    #[test]
    fn sweep_closes_what_has_become_too_old_however_short_it_was_idle() {
        let pool = Pool::default();
        let (mut old, _server) = connection(10_999);
        old.end_ms = 11_000;
        pool.give(old, 8);
        pool.sweep(10_999, 10_000);
        assert_eq!(pool.count(), 1);
        pool.sweep(11_000, 10_000);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_server_that_is_gone_keeps_no_connections() {
        let pool = Pool::default();
        let (before, _server) = connection(1);
        let (after, _other) = connection(2);
        pool.give(before, 8);
        pool.retire();
        pool.give(after, 8);
        assert!(pool.is_empty());
    }

    #[test]
    fn sweep_closes_what_is_idle_for_too_long() {
        let pool = Pool::default();
        let (old, _server) = connection(1_000);
        let (new, _other) = connection(5_000);
        pool.give(old, 8);
        pool.give(new, 8);
        pool.sweep(11_000, 10_000);
        assert_eq!(pool.take().map(|pooled| pooled.since_ms), Some(5_000));
        assert!(pool.is_empty());
    }
}
