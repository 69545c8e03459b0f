//! A route in the tables: what it does, and what applies to its requests.

use std::sync::Arc;

use crate::http::files::FileRoot;
use crate::snapshot::{Bandwidth, HookLists, RouteTimeouts};
use headgate_route::Subset;
use headgate_wire::Head;

/// One route.
pub struct Route {
    /// Its name.
    pub name: String,
    pub(crate) action: Action,
    /// The metadata that servers of its own upstream must have.
    pub(crate) subset: Option<Subset>,
    pub(crate) strip_prefix: Option<String>,
    pub(crate) replace_prefix: Option<String>,
    pub(crate) needs_client_certificate: Option<bool>,
    pub(crate) max_body_bytes: u64,
    pub(crate) bandwidth: Vec<Bandwidth>,
    pub(crate) timeouts: RouteTimeouts,
    /// The buckets of its durations, in microseconds; none for the usual ones.
    pub(crate) buckets: Option<Arc<[u64]>>,
    pub(crate) hooks: HookLists,
    /// The matcher function.
    pub(crate) function: Option<usize>,
}

impl Route {
    /// The upstream that it goes to, if it goes to one.
    pub(crate) fn upstream(&self) -> Option<usize> {
        match self.action {
            Action::Proxy { upstream } => Some(upstream),
            _ => None,
        }
    }
}

/// What a route does.
pub(crate) enum Action {
    Proxy {
        upstream: usize,
    },
    Redirect {
        status: u16,
        location: String,
    },
    Respond {
        status: u16,
        /// Its fields, as they are sent.
        head: Head,
        body: Vec<u8>,
    },
    Files(FileRoot),
    Hooks,
}
