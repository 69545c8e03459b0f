//! Idle connections to a server, the most recently used first.

use std::cell::RefCell;

use headgate_net::peer::Peer;

/// See the module.
#[derive(Default)]
pub struct Pool {
    #[allow(
        clippy::vec_box,
        reason = "they go through many hands while a request is forwarded"
    )]
    idle: RefCell<Vec<Box<Pooled>>>,
}

/// A connection that may serve more requests.
pub struct Pooled {
    /// The server.
    pub peer: Peer,
    /// Requests it has served.
    pub served: u64,
    /// When it became idle, on the worker's clock.
    pub since_ms: u64,
}

impl Pooled {
    /// A connection that has served so many requests.
    #[allow(clippy::unnecessary_box_returns, reason = "it stays boxed, as in the pool")]
    #[inline]
    pub fn new(peer: Peer, served: u64) -> Box<Self> {
        Box::new(Self {
            peer,
            served,
            since_ms: 0,
        })
    }

    /// Nothing has come from the server since its last response: neither its end nor bytes that nobody asked for.
    ///
    /// The loop has seen every event by the time a request is read, so that this asks no system call of most.
    fn is_usable(&mut self) -> bool {
        !self.peer.stream.has_news()
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
        None
    }

    /// Keeps a connection, unless there are `max_idle` already.
    #[inline]
    pub fn give(&self, pooled: Box<Pooled>, max_idle: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < max_idle {
            idle.push(pooled);
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Closes what has been idle for `idle_timeout_ms`, and what its server closed.
    #[inline]
    pub fn sweep(&self, now_ms: u64, idle_timeout_ms: u64) {
        self.idle.borrow_mut().retain_mut(|pooled| {
            now_ms.saturating_sub(pooled.since_ms) < idle_timeout_ms && pooled.is_usable()
        });
    }
}
