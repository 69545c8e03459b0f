//! Servers that were removed from their upstreams: what is still under way at them goes on, but not for ever.
//!
//! # How it works
//! Watches are bound to the server whose response, stream or WebSocket they wait for, by what the server is known by in all
//! configurations. A server that is removed is noted here with the moment at which all that is bound to it ends; one that comes
//! back meanwhile is struck out, and its connections go on.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use headgate_net::deadline::Deadlines;
use headgate_upstream::Upstream;

use super::Shared;
use crate::tables::Tables;

/// See the module.
#[derive(Default)]
pub(crate) struct Leaving {
    servers: RefCell<Vec<LeavingServer>>,
}

struct LeavingServer {
    identity: u64,
    upstream: String,
    address: String,
    limit_ms: u64,
    end_ms: u64,
}

impl Leaving {
    /// An upstream was replaced by another one of its name, or by none.
    pub(crate) fn note(&self, former: &Upstream, next: Option<&Rc<Upstream>>, now_ms: u64) {
        let kept: HashSet<u64> = next.map_or_else(HashSet::new, |next| {
            next.servers.iter().map(|server| server.identity).collect()
        });
        let mut leaving = self.servers.borrow_mut();
        leaving.retain(|server| server.upstream != former.name || !kept.contains(&server.identity));
        for server in former.servers.iter().filter(|one| !kept.contains(&one.identity)) {
            server.retire();
            if let Some(limit_ms) = former.drain_ms() {
                leaving.push(LeavingServer {
                    identity: server.identity,
                    upstream: former.name.clone(),
                    address: server.name.clone(),
                    limit_ms,
                    end_ms: now_ms + limit_ms,
                });
            }
        }
    }

    /// Ends what is still under way at servers whose time is over.
    pub(crate) fn sweep(&self, now_ms: u64, deadlines: &Deadlines) {
        let mut leaving = self.servers.borrow_mut();
        leaving.retain(|server| {
            if now_ms < server.end_ms {
                return true;
            }
            let ended = deadlines.end_server(server.identity);
            if ended > 0 {
                tracing::warn!(
                    upstream = server.upstream,
                    server = server.address,
                    ended,
                    limit_ms = server.limit_ms,
                    "what was under way at a server that was removed is ended"
                );
            }
            false
        });
    }
}

impl Shared {
    /// Has what goes on in former upstreams go on in those of `tables` that have taken their places.
    pub(crate) fn replace_upstreams(&self, former: &[Rc<Upstream>], tables: &Tables) {
        let now_ms = self.clock.tick() / 1000;
        for (index, former) in former.iter().enumerate() {
            let is = |next: &&Rc<Upstream>| Rc::ptr_eq(former, next);
            if tables.upstreams.get(index).as_ref().is_some_and(is) {
                continue;
            }
            let next = tables.upstream_index(&former.name);
            let next = next.map(|index| &tables.upstreams[index]);
            if next.as_ref().is_some_and(is) {
                continue;
            }
            if let Some(next) = next {
                former.give_way(next);
            }
            self.leaving.note(former, next, now_ms);
        }
    }
}
