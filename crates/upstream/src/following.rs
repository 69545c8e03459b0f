//! An upstream that a new configuration has in another form: what goes on in it of the former one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::group::Upstream;

impl Upstream {
    /// Goes on where `old` was: servers of both keep their connections and what is known of them, those that are new start
    /// slowly.
    pub fn follow(&mut self, old: &Self) {
        let places = old.spec.servers.iter().enumerate();
        let places: HashMap<(&str, bool), usize> = places
            .map(|(at, server)| ((server.address.as_str(), server.tls), at))
            .collect();
        let keeps_connections = self.spec.connects_as(&old.spec);
        let mut newcomers = Vec::new();
        for (at, spec) in self.spec.servers.iter().enumerate() {
            let Some(known) = places.get(&(spec.address.as_str(), spec.tls)) else {
                newcomers.push(at);
                continue;
            };
            let balancer = self.balancer.get_mut();
            balancer.take_over(at, &old.balancer.borrow(), *known);
            let (server, known_spec) = (&old.servers[*known], &old.spec.servers[*known]);
            let is_same = known_spec.connect == spec.connect && known_spec.host == spec.host;
            if keeps_connections && is_same && server.is_current() {
                self.servers[at].pool = Rc::clone(&server.pool);
                self.servers[at].http2.clone_from(&server.http2);
                self.servers[at].http3.clone_from(&server.http3);
            }
        }
        self.newcomers = RefCell::new(newcomers);
        if let (Some(hedging), Some(known)) = (&self.hedging, &old.hedging) {
            hedging.follow(known);
        }
        if let (Some(stale), Some(known)) = (&mut self.stale, &old.stale) {
            stale.follow(known);
        }
    }

    /// Has servers that are new start slowly, from the first choice on.
    #[inline]
    pub(crate) fn introduce(&self, now_ms: u64) {
        if !self.newcomers.borrow().is_empty() {
            let newcomers = self.newcomers.take();
            let mut balancer = self.balancer.borrow_mut();
            for server in newcomers {
                balancer.joins(server, now_ms);
            }
        }
    }
}
