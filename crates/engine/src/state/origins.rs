//! Upstreams made on the fly, one for each origin (scheme, host and port) or address that a hook named.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::snapshot;
use crate::upstream::Upstream;

/// Origins remembered; past them the one not used for longest is forgotten with its idle connections.
const MAX_ORIGINS: usize = 256;

/// Idle connections kept to an origin, and for how long (milliseconds): as for an upstream of the configuration.
const MAX_IDLE: usize = 1024;
const IDLE_TIMEOUT_MS: u64 = 60_000;

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

    /// For tests: an origin (`https://host`) or address is answered by this socket, without TLS, and of all others none is
    /// reached any more.
    pub(crate) fn stand_in(&self, origin: &str, socket: &str) -> Result<(), String> {
        self.is_closed.set(true);
        let mut described = server_at(origin.to_owned(), origin.to_owned());
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

    /// The upstream of a server that a hook named by its address, such as `10.0.0.1:443`.
    pub(crate) fn at_address(&self, address: &str, now_ms: u64) -> Result<Rc<Upstream>, String> {
        if let Some(upstream) = self.get(address, now_ms) {
            return Ok(upstream);
        }
        if self.is_closed.get() {
            return Err(format!(
                "`{address}` is not reached from a test; hint: name it in `upstreams`"
            ));
        }
        let mut described = server_at(address.to_owned(), address.to_owned());
        // for others than the one who named it the client's request stays what it is
        "preserve".clone_into(&mut described.host);
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

/// One server, as the configuration would describe an upstream of it.
pub(crate) fn server_at(name: String, address: String) -> snapshot::Upstream {
    snapshot::Upstream {
        lenient: Vec::new(),
        protocol: snapshot::UpstreamProtocol::Http1,
        grpc_web: false,
        name,
        balance: "round_robin".to_owned(),
        servers: vec![snapshot::Server {
            address,
            connect: None,
            tls: false,
            weight: 1,
            // there is no other server to turn to
            max_fails: 0,
            fail_timeout: 0,
            backup: false,
            max_connections: 0,
        }],
        keepalive: snapshot::Keepalive {
            max_idle: MAX_IDLE,
            idle_timeout: IDLE_TIMEOUT_MS,
            max_requests: 0,
            ping: 0,
        },
        retries: 0,
        timeouts: snapshot::RouteTimeouts::default(),
        host: "server".to_owned(),
        proxy_protocol: None,
        source: None,
        tls: None,
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
            let described = server_at(key.clone(), format!("host{number}:80"));
            origins.add(key, &described, number).unwrap();
        }
        assert_eq!(origins.known.borrow().len(), MAX_ORIGINS);
        assert!(origins.get("http://host9", 0).is_none());
        assert!(origins.get("http://host10", 0).is_some());
    }
}
