//! Counting connections: those of the worker, of a listener, and of one client, each within its bound.

use std::rc::Rc;

use crate::snapshot::Limits;
use crate::state::Shared;
use headgate_shared::metrics::Counter;

/// What a connection counts towards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Nothing: it is carried by another connection, or is the gateway's own.
    Not,
    /// The connections of the worker.
    Connection,
}

/// A connection's place in the counts, given back when dropped.
pub(crate) struct Admission {
    shared: Rc<Shared>,
    counted: Counted,
    keys: Vec<String>,
}

/// A bound that is reached.
pub(crate) struct Full {
    pub(crate) limit: &'static str,
    pub(crate) counter: Counter,
}

impl Admission {
    /// Checks the bounds of the worker and of the client, and counts a connection.
    ///
    /// Without an address the client is counted later, when it is known.
    pub(crate) fn within(shared: &Rc<Shared>, limits: &Limits, address: Option<&str>) -> Result<Self, Full> {
        if shared.connections.get() >= limits.max_connections {
            return Err(Full {
                limit: "limits.max_connections",
                counter: Counter::LimitConnections,
            });
        }
        let mut admission = Self::enter(shared, Counted::Connection);
        if let Some(address) = address {
            admission.count_client(limits, address)?;
        }
        Ok(admission)
    }

    /// Counts a connection whatever the bounds.
    pub(crate) fn enter(shared: &Rc<Shared>, counted: Counted) -> Self {
        if counted != Counted::Not {
            shared.connections.set(shared.connections.get() + 1);
            shared.metrics.count(Counter::ConnectionsActive);
        }
        Self {
            shared: shared.clone(),
            counted,
            keys: Vec::new(),
        }
    }

    /// Counts the connection towards a client's address, in place of the one before.
    pub(crate) fn count_client(&mut self, limits: &Limits, address: &str) -> Result<(), Full> {
        self.forget_keys();
        let most = limits.max_connections_per_client;
        if most == 0 {
            return Ok(());
        }
        if !self.count_within(address.to_owned(), most) {
            return Err(Full {
                limit: "limits.max_connections_per_client",
                counter: Counter::LimitClientConnections,
            });
        }
        Ok(())
    }

    /// Counts towards any other bound, named by `key`; 0 means no limit. False: it is reached.
    pub(crate) fn count_within(&mut self, key: String, most: usize) -> bool {
        if most == 0 {
            return true;
        }
        let now = self.shared.per_client.borrow().get(&key).copied().unwrap_or(0);
        if now >= most {
            return false;
        }
        self.count(key);
        true
    }

    fn count(&mut self, key: String) {
        *self
            .shared
            .per_client
            .borrow_mut()
            .entry(key.clone())
            .or_insert(0) += 1;
        self.keys.push(key);
    }

    fn forget_keys(&mut self) {
        let mut counts = self.shared.per_client.borrow_mut();
        for key in self.keys.drain(..) {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.counted != Counted::Not {
            self.shared.connections.set(self.shared.connections.get() - 1);
            self.shared.metrics.sub(Counter::ConnectionsActive, 1);
        }
        self.forget_keys();
    }
}
