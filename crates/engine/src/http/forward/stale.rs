//! Last good responses: which ones are kept, and what is made of one in place of an error (RFC 5861 section 4).

use std::rc::Rc;

use headgate_shared::metrics::Counter;
use headgate_upstream::{Kept, Stale, Terms, Upstream};
use headgate_wire::{list_elements, Framing, Head, ResponseHead};

use super::plan::Plan;
use crate::hooks::exchange::Exchange;
use crate::http::reply::{of_bytes, LocalReply};
use crate::http_date;
use crate::state::Shared;

/// A response on its way to its client that is kept if all of it comes.
pub(super) struct Keeping {
    upstream: Rc<Upstream>,
    key: Vec<u8>,
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    terms: Terms,
    body: Vec<u8>,
    max_body_bytes: usize,
    is_whole: bool,
}

impl Keeping {
    /// Begins, if the response is one to keep, as its server has sent it.
    #[inline]
    pub(super) fn begin(shared: &Shared, plan: &Plan<'_>) -> Option<Box<Self>> {
        let stale = plan.upstream.stale()?;
        Self::of(shared, plan, stale)
    }

    #[cold]
    fn of(shared: &Shared, plan: &Plan<'_>, stale: &Stale) -> Option<Box<Self>> {
        let (request, response) = (plan.exchange.request.borrow(), plan.exchange.response.borrow());
        let response = response.as_ref()?;
        let is_plain_get = request.method() == b"GET" && request.head.get(b"range").is_none();
        if response.status >= 500 || !is_plain_get || is_of_one_client(&request.head) {
            return None;
        }
        let key = key(plan.exchange, route_of(plan));
        let now_s = shared.clock.unix_us(shared.clock.now_us()) / 1_000_000;
        let about = (response.status, &response.head);
        let terms = stale.terms(about, &request.head, |text| http_date::parse(text, now_s));
        let Some(terms) = terms.filter(|_| fits(response, stale.max_body_bytes())) else {
            // what is so no more is not said in an outage either
            if matches!(response.status, 200..=303 | 305..=399 | 404 | 410) {
                stale.forget(&key);
            }
            return None;
        };
        let fields = response.head.iter().map(|(name, value)| {
            let name = String::from_utf8_lossy(name).into_owned();
            (name, value.to_vec())
        });
        Some(Box::new(Self {
            upstream: Rc::clone(plan.upstream),
            key,
            status: response.status,
            fields: fields.filter(|(name, _)| !is_own(name)).collect(),
            terms,
            body: Vec::new(),
            max_body_bytes: stale.max_body_bytes(),
            is_whole: response.framing == Framing::None,
        }))
    }

    /// More of its body came; false if it has become too long.
    pub(super) fn take(&mut self, data: Option<&[u8]>, is_last: bool) -> bool {
        self.body.extend_from_slice(data.unwrap_or_default());
        self.is_whole |= is_last;
        self.body.len() <= self.max_body_bytes
    }

    /// All is sent: it is kept, if it is whole.
    pub(super) fn end(self, shared: &Shared) {
        if let (Some(stale), true) = (self.upstream.stale(), self.is_whole) {
            let kept = Kept {
                status: self.status,
                fields: self.fields,
                body: self.body,
                terms: self.terms,
                since_ms: shared.clock.now_ms(),
            };
            stale.keep(self.key, kept);
        }
    }
}

/// Whether the body may be kept, as far as its head says: its end is known, and it is not too long.
fn fits(response: &ResponseHead, max_body_bytes: usize) -> bool {
    match response.framing {
        Framing::None | Framing::Chunked => true,
        Framing::Length(length) => length <= max_body_bytes as u64,
        Framing::UntilClose => false,
    }
}

/// Whether the response is for one client alone, or it wants nothing kept (RFC 9111 sections 3.5 and 5.2.1.5).
fn is_of_one_client(request: &Head) -> bool {
    request.get(b"authorization").is_some()
        || request.get(b"proxy-authorization").is_some()
        || says(request, "no-store")
}

fn says(request: &Head, directive: &str) -> bool {
    let mut said = request.get_all(b"cache-control").flat_map(list_elements);
    said.any(|one| one.eq_ignore_ascii_case(directive.as_bytes()))
}

/// Fields that are written anew.
fn is_own(name: &str) -> bool {
    ["age", "content-length"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

/// The name of the route that a request has taken; empty where there is none.
fn route_of<'p>(plan: &'p Plan<'_>) -> &'p str {
    let route = plan.exchange.route.get();
    route.map_or("", |route| &plan.tables.route(route).name)
}

/// What has the same response: the route, the host and the target.
fn key(exchange: &Exchange, route: &str) -> Vec<u8> {
    let request = exchange.request.borrow();
    let host = request.head.get(b"host").unwrap_or_default();
    [route.as_bytes(), host, request.target()].join(&b" "[..])
}

/// The response that is given in place of a server's with that status, if it says that the server cannot serve.
#[inline]
pub(super) fn in_place(shared: &Shared, plan: &Plan<'_>, status: u16) -> Option<LocalReply> {
    if !matches!(status, 500 | 502 | 503 | 504) || plan.upstream.stale().is_none() {
        return None;
    }
    let reply = reply(shared, plan.exchange, plan.upstream, route_of(plan), Some(status))?;
    shared.metrics.count(Counter::Fallbacks);
    plan.exchange.response.take();
    Some(reply)
}

/// The last good response to such a request, if there is one; `status`: what a server has responded.
pub(super) fn reply(
    shared: &Shared,
    exchange: &Exchange,
    upstream: &Upstream,
    route: &str,
    status: Option<u16>,
) -> Option<LocalReply> {
    let stale = upstream.stale()?;
    let key = key(exchange, route);
    let request = exchange.request.borrow();
    let is_read = matches!(request.method(), b"GET" | b"HEAD");
    if !is_read || is_of_one_client(&request.head) || says(&request.head, "no-cache") {
        return None;
    }
    let (kept, age_s) = stale.find(&key, &request.head, shared.clock.now_ms())?;
    let told = status.map_or_else(String::new, |status| format!("; fwd-status={status}"));
    // RFC 9211 section 2; `Warning` is obsolete (RFC 9111 section 5.5)
    let said = format!("headgate; fwd=stale{told}; detail=stale-if-error");
    let (age, said) = (age_s.to_string(), said.into_bytes());
    let own = [("age", age.as_bytes()), ("cache-status", &said)];
    let fields = kept
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    of_bytes(kept.status, fields.chain(own), kept.body.clone()).ok()
}
