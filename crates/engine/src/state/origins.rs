//! Upstreams made on the fly, one for each origin (scheme, host and port) or address that a hook named.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::snapshot;
use headgate_upstream::{describe_server, one_server, Upstream};

/// Origins remembered; past them the one not used for longest is forgotten with its idle connections.
const MAX_ORIGINS: usize = 256;

/// The origins of a worker.
#[derive(Default)]
pub(crate) struct Origins {
    known: RefCell<HashMap<String, Known>>,
    /// A test has named all origins there are.
    is_closed: Cell<bool>,
}

struct Known {
    upstream: Rc<Upstream>,
    used_ms: u64,
}

impl Origins {
    /// The upstream of an origin that is known.
    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<Rc<Upstream>> {
        let mut known = self.known.borrow_mut();
        let origin = known.get_mut(key)?;
        origin.used_ms = now_ms;
        Some(origin.upstream.clone())
    }

    /// For tests: an origin (`https://host`) or address is served by this socket, without TLS, and of all others none is
    /// reached any more.
    pub(crate) fn replace_origin(&self, origin: &str, socket: &str) -> Result<(), String> {
        self.is_closed.set(true);
        let mut described = one_server(origin.to_owned(), origin.to_owned());
        for server in &mut described.servers {
            server.connect = Some(socket.to_owned());
        }
        let upstream = Upstream::build(&described, &mut |_| 0).map(Rc::new)?;
        self.keep(origin.to_owned(), upstream, u64::MAX);
        Ok(())
    }

    /// Makes the upstream of an origin.
    ///
    /// # Errors
    /// It is not to be reached, or cannot be described so.
    pub(crate) fn add(
        &self,
        key: String,
        described: &snapshot::Upstream,
        used_ms: u64,
    ) -> Result<Rc<Upstream>, String> {
        if self.is_closed.get() {
            return Err(format!(
                "`{key}` is not reached from a test; hint: name it in `upstreams`"
            ));
        }
        let upstream = Upstream::build(described, &mut |_| 0).map(Rc::new)?;
        self.keep(key, upstream.clone(), used_ms);
        Ok(upstream)
    }

    /// Whether a test has named all origins there are.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    fn keep(&self, key: String, upstream: Rc<Upstream>, used_ms: u64) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_ORIGINS {
            let oldest = known.iter().min_by_key(|(_, origin)| origin.used_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(key, Known { upstream, used_ms });
    }

    /// The upstream of a server that a hook named by its address, such as `10.0.0.1:443`, with its options: see [`describe_server`].
    pub(crate) fn at_address(&self, address: &str, now_ms: u64) -> Result<Rc<Upstream>, String> {
        if let Some(upstream) = self.get(address, now_ms) {
            return Ok(upstream);
        }
        if self.is_closed.get() {
            return Err(format!(
                "`{address}` is not reached from a test; hint: name it in `upstreams`"
            ));
        }
        let described = describe_server(address)?;
        let upstream = Upstream::build(&described, &mut |_| 0).map(Rc::new)?;
        self.keep(address.to_owned(), upstream.clone(), now_ms);
        Ok(upstream)
    }

    /// Closes idle connections that are too old or that their server closed.
    pub(crate) fn sweep(&self, now_ms: u64) {
        for origin in self.known.borrow().values() {
            origin.upstream.sweep(now_ms);
        }
    }

    /// Whether there are idle connections.
    pub(crate) fn has_idle(&self) -> bool {
        let known = self.known.borrow();
        known.values().any(|origin| origin.upstream.has_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_not_used_for_longest_is_forgotten() {
        let origins = Origins::default();
        for number in 0..MAX_ORIGINS as u64 + 10 {
            let key = format!("http://host{number}");
            let described = one_server(key.clone(), format!("host{number}:80"));
            origins.add(key, &described, number).unwrap();
        }
        assert_eq!(origins.known.borrow().len(), MAX_ORIGINS);
        assert!(origins.get("http://host9", 0).is_none());
        assert!(origins.get("http://host10", 0).is_some());
    }
}
