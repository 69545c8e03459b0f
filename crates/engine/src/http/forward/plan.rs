//! What stays the same over the attempts of one request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use headgate_route::Subset;
use headgate_upstream::Upstream;
use headgate_wire::Framing;

use super::session::ClientSession;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::request_head::{self, Outgoing};
use crate::http::reply::stripped_path;
use crate::snapshot::Phase;
use crate::state::Shared;

/// What stays the same over the attempts of one request.
pub(super) struct Plan<'a> {
    pub(super) exchange: &'a Rc<Exchange>,
    pub(super) tables: &'a Rc<Configuration>,
    pub(super) upstream: &'a Rc<Upstream>,
    pub(super) hooks: &'a [usize],
    pub(super) balance: &'a [usize],
    /// Those that are asked before a further attempt.
    pub(super) retry_hooks: &'a [usize],
    pub(super) target: Option<Vec<u8>>,
    pub(super) framing: Framing,
    /// Whether it may be sent twice.
    pub(super) is_repeatable: bool,
    pub(super) queue_ms: u64,
    pub(super) connect_ms: u64,
    pub(super) send_ms: u64,
    pub(super) client_body_ms: u64,
    pub(super) upstream_head_ms: u64,
    pub(super) session: Option<Box<ClientSession>>,
    /// What has taken the upstream's place while the request waited for one of its servers.
    pub(super) moved_to: RefCell<Option<Rc<Upstream>>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        shared: &Shared,
        exchange: &'a Rc<Exchange>,
        tables: &'a Rc<Configuration>,
        upstream: &'a Rc<Upstream>,
    ) -> Self {
        let session = ClientSession::of(shared, exchange, upstream);
        let route = exchange.route.get();
        let mut request = exchange.request.borrow_mut();
        request_head::claim_fields(
            &mut request,
            &tables.forwarding,
            tables.request_id_header.as_deref(),
            exchange.client.tells_host,
        );
        let target = route
            .and_then(|route| stripped_path(request.path(), tables.route(route)))
            .map(|mut path| {
                if request.target().len() > request.path().len() {
                    path.extend_from_slice(&request.target()[request.path().len()..]);
                }
                path
            });
        let waited_ms = exchange
            .moved_to()
            .map_or(0, |_| exchange.timings.queue_us.get() / 1000);
        let timeout = |of_route: fn(&crate::snapshot::RouteTimeouts) -> Option<u64>,
                       of_gateway: fn(&crate::snapshot::Timeouts) -> u64| {
            tables.timeout(route, Some(upstream), of_route, of_gateway)
        };
        Self {
            exchange,
            tables,
            upstream,
            hooks: route.map_or(&[][..], |route| {
                &tables.route(route).hooks[Phase::UpstreamRequest]
            }),
            // a server that a hook has named by its address is not a choice among several
            balance: route
                .filter(|_| exchange.at_address.borrow().is_none())
                .map_or(&[][..], |route| &tables.route(route).hooks[Phase::Balance]),
            retry_hooks: route.map_or(&[][..], |route| &tables.route(route).hooks[Phase::Retry]),
            target,
            framing: request.framing,
            is_repeatable: upstream.may_repeat(request.method()),
            // one that has moved here has waited already
            queue_ms: timeout(|t| t.queue, |t| t.queue).saturating_sub(waited_ms),
            connect_ms: timeout(|t| t.connect, |t| t.connect),
            send_ms: timeout(|t| t.send, |t| t.send),
            client_body_ms: timeout(|t| t.client_body, |t| t.client_body),
            upstream_head_ms: timeout(|t| t.upstream_head, |t| t.upstream_head)
                .min(upstream.attempt_ms().unwrap_or(u64::MAX)),
            session,
            moved_to: RefCell::default(),
        }
    }

    /// The metadata that servers must have: as a hook has said, or the route, of its own upstream.
    #[inline]
    pub(super) fn subset(&self) -> Option<Cow<'_, Subset>> {
        let of_hook = self
            .exchange
            .known_rare()
            .and_then(|rare| rare.subset.borrow().clone());
        if let Some(subset) = of_hook {
            return Some(Cow::Owned(subset));
        }
        let route = self.tables.route(self.exchange.route.get()?);
        let is_own = route.upstream() == self.exchange.configured_upstream();
        route.subset.as_ref().filter(|_| is_own).map(Cow::Borrowed)
    }

    /// The bytes that begin an attempt: the head, and what is here of the body.
    pub(super) fn head_bytes(&self, server: usize, here: &[u8], mut out: Vec<u8>) -> Vec<u8> {
        let request = self.exchange.request.borrow();
        let id = self.exchange.id.borrow();
        out.reserve(request.head.len_hint() + 512 + here.len());
        let outgoing = Outgoing {
            client: &self.exchange.client,
            forwarding: &self.tables.forwarding,
            host: &self.upstream.host,
            server_name: &self.upstream.servers[server].host,
            request_id: self
                .tables
                .request_id_header
                .as_deref()
                .map(|name| (name, id.as_str())),
            target: self.target.as_deref(),
            framing: self.framing,
        };
        request_head::write(&request, &outgoing, &mut out);
        out.extend_from_slice(here);
        out
    }

    /// Gives the client a cookie for the server that has responded, where it needs one.
    #[inline]
    pub(super) fn add_session_cookie(&self, shared: &Shared) {
        if let (Some(session), Some(sticky)) = (&self.session, &self.upstream.sticky) {
            session.add_cookie(shared, self.exchange, self.upstream, sticky);
        }
    }
}
