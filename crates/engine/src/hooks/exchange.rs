//! The state of one exchange (a request and its response) that the engine shares with hooks.
//!
//! All of it lives on one thread; the cells are borrowed only between two awaits, so a hook always finds them free.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use headgate_route::{Params, Subset, Tried};
use headgate_wire::{Head, RequestHead, RequestKind, ResponseHead, TraceParent, Version};

use super::channel::Channel;
use super::configuration::Configuration;
use super::connection::{ClientInfo, Protocol};
use super::intake::Intake;
use super::notes::Notes;
use super::verdict::HookResponse;
use crate::access_log::{HookTime, Step, StepKind, Steps};
use crate::failure::Failure;
use crate::trace::{FailedAttempt, FetchSpan, Place};
use headgate_net::clock::Clock;
use headgate_upstream::{Deadline, Load, Upstream};

/// Microseconds spent in the parts of a request's life; 0 where a part did not happen.
#[derive(Default)]
pub struct Timings {
    /// When the head was complete, on the worker's clock.
    pub started_us: Cell<u64>,
    /// Waiting for a place on a server, in all attempts.
    pub queue_us: Cell<u64>,
    /// Connecting to servers, in all attempts (0 for pooled connections).
    pub connect_us: Cell<u64>,
    /// From sending the request, in its last attempt, to the complete response head.
    pub head_us: Cell<u64>,
    /// In hooks, waiting included.
    pub hook_us: Cell<u64>,
    /// When the last attempt began, on the worker's clock.
    pub attempt_us: Cell<u64>,
    /// When the client was first sent a part of the response, on the worker's clock.
    pub responded_us: Cell<u64>,
    /// All that was waited for, with its begin.
    pub steps: Steps,
    /// Whether somebody follows the log, and is shown each hook.
    pub is_followed: Cell<bool>,
    /// Each hook by itself, where they are logged or sent ([`Tables::wants_hook_times`]), or somebody follows the log.
    pub hooks: RefCell<Vec<HookTime>>,
}

impl Timings {
    /// Counts time spent in hooks.
    pub(crate) fn add_hook(&self, spent_us: u64) {
        self.hook_us.set(self.hook_us.get() + spent_us);
    }

    /// Keeps a step that has ended now.
    #[inline]
    pub(crate) fn note(&self, kind: StepKind, attempt: u32, began_us: u64, now_us: u64) {
        self.steps.add(Step {
            kind,
            attempt,
            began_us,
            us: now_us.saturating_sub(began_us),
        });
    }
}

/// What hooks of bodies, trailers and balancing need; other exchanges do not pay for it.
#[derive(Default)]
pub struct Rare {
    /// The trailers of the request: the client's, once they came; edits by hooks are in them.
    pub request_trailers: RefCell<Option<Head>>,
    /// The trailers of the response, likewise.
    pub response_trailers: RefCell<Option<Head>>,
    /// What request hooks request of the body.
    pub intake: Intake,
    /// The upstream of a newer configuration to which it has moved while it waited for a server.
    pub moved_to: RefCell<Option<Rc<Upstream>>>,
    /// What the last attempt has failed by, or the status of its response, for `retry` hooks.
    pub came_to: Cell<(&'static str, u16)>,
    /// Whether such a hook wants no further attempt.
    pub(crate) is_final: Cell<bool>,
    /// The servers tried so far.
    pub tried: RefCell<Tried>,
    /// The metadata of servers that a `balance` hook chose among for the next attempt.
    pub subset: RefCell<Option<Subset>>,
    /// How the upstream's servers are, for `balance` hooks.
    pub loads: RefCell<Vec<Load>>,
    /// The WebSocket that the request opens, where hooks see its messages.
    pub websocket: OnceCell<Rc<Channel>>,
    /// When it must be done, if its client or the configuration has said so.
    pub(crate) deadline: RefCell<Option<Box<Deadline>>>,
    /// The number of the attempt that has the response, where others ran beside it and traces are wanted; 0: the last one.
    pub(crate) shown_attempt: Cell<u32>,
    /// Attempts that failed, where traces are wanted.
    pub(crate) failed_attempts: RefCell<Vec<FailedAttempt>>,
    /// Fetches from the own routes on its behalf, those that have ended and how many there were, where traces are wanted.
    pub(crate) fetches: RefCell<Vec<FetchSpan>>,
    /// See `fetches`.
    pub(crate) fetches_begun: Cell<u32>,
    /// The response of a body hook, to be given in place of what the hook was called for.
    pub(crate) hook_response: RefCell<Option<Box<HookResponse>>>,
}

/// One request and its response.
pub struct Exchange {
    /// The request's head; edits by hooks are in it.
    pub request: RefCell<RequestHead>,
    /// What the client requested, whatever hooks make of the request's method.
    pub request_kind: RequestKind,
    /// The response's head: the server's, while `response` hooks run and after.
    pub response: RefCell<Option<ResponseHead>>,
    /// The status sent to the client, 0 before.
    pub status: Cell<u16>,
    /// The client.
    pub client: Rc<ClientInfo>,
    /// The tables that this request was routed with; they outlive a configuration change.
    pub tables: RefCell<Rc<Configuration>>,
    /// The chosen route.
    pub route: Cell<Option<usize>>,
    /// The path parameters of the chosen route, percent-decoded.
    pub params: RefCell<Params>,
    /// The chosen upstream; a hook may choose another one of `tables` in the phase `request`.
    pub upstream: Cell<Option<usize>>,
    /// The server's address that a hook has chosen in place of an upstream, such as `10.0.0.1:80`.
    pub address: RefCell<Option<String>>,
    /// The upstream made of that address, once the request goes there.
    pub at_address: RefCell<Option<Rc<Upstream>>>,
    /// The chosen server of that upstream in the current attempt.
    pub server: Cell<Option<usize>>,
    /// The number of the current attempt, from 1; 0 before the first.
    pub attempt: Cell<u32>,
    /// What went wrong, for `error` hooks and the log.
    pub failure: RefCell<Option<Failure>>,
    /// The request's id, made on first use.
    pub id: RefCell<String>,
    /// Whatever the hooks' implementation keeps for this exchange (views, context). Dropped with the exchange.
    pub attachment: RefCell<Option<Box<dyn Any>>>,
    /// Set after the `log` hooks: views must refuse further use.
    pub is_finished: Cell<bool>,
    /// Bytes of request body read and of response (head and body) written.
    pub request_bytes: Cell<u64>,
    /// See `request_bytes`.
    pub response_bytes: Cell<u64>,
    /// How many of those are the head.
    pub(crate) head_bytes: Cell<u64>,
    /// The limit or timeout that ended this request, for the log; empty if none.
    pub limit: Cell<&'static str>,
    /// Where the request is in its trace, if traces are wanted.
    pub(crate) trace: Cell<Option<Place>>,
    /// Whether `traceparent` says so: to hooks the request's own span, to servers that of their attempt.
    pub(crate) is_trace_told: Cell<bool>,
    /// How many requests of the gateway itself led to this one; 0 for a client's.
    pub depth: Cell<u8>,
    /// Where the time went.
    pub timings: Timings,
    /// Whether hooks may read the request's body now: those of phase `request` run.
    pub is_body_open: Cell<bool>,
    /// Whether the client sends none with it, so that no hook need wait for it.
    pub has_no_body: Cell<bool>,
    /// The server that a `balance` hook chose for the next attempt.
    pub picked: Cell<Option<usize>>,
    /// What native actions keep for it, and tell hooks.
    pub notes: Notes,
    rare: OnceCell<Box<Rare>>,
    clock: Rc<Clock>,
}

impl Exchange {
    /// Tells hooks of the request's own span, before the first of them is called.
    #[inline]
    pub(crate) fn tell_hooks_of_trace(&self) {
        if let Some(place) = self.trace.get().filter(|_| !self.is_trace_told.get()) {
            self.tell_of_trace(&place.own);
        }
    }

    /// Tells whoever sees the request next.
    #[inline]
    pub(crate) fn tell_of_trace(&self, place: &TraceParent) {
        self.is_trace_told.set(true);
        // a head that is full tells nobody
        let mut request = self.request.borrow_mut();
        let _ = request.head.set_own(b"traceparent", &place.text());
    }

    /// A fresh exchange.
    pub(crate) fn new(
        request: RequestHead,
        client: Rc<ClientInfo>,
        tables: Rc<Configuration>,
        clock: Rc<Clock>,
    ) -> Rc<Self> {
        Rc::new(Self {
            request_kind: RequestKind::of(request.method()),
            request: RefCell::new(request),
            response: RefCell::new(None),
            status: Cell::new(0),
            client,
            tables: RefCell::new(tables),
            route: Cell::new(None),
            params: RefCell::default(),
            upstream: Cell::new(None),
            address: RefCell::new(None),
            at_address: RefCell::new(None),
            server: Cell::new(None),
            attempt: Cell::new(0),
            failure: RefCell::new(None),
            id: RefCell::default(),
            attachment: RefCell::new(None),
            is_finished: Cell::new(false),
            request_bytes: Cell::new(0),
            response_bytes: Cell::new(0),
            head_bytes: Cell::new(0),
            limit: Cell::new(""),
            trace: Cell::new(None),
            is_trace_told: Cell::new(false),
            depth: Cell::new(0),
            timings: Timings::default(),
            is_body_open: Cell::new(false),
            has_no_body: Cell::new(false),
            picked: Cell::new(None),
            notes: Notes::default(),
            rare: OnceCell::new(),
            clock,
        })
    }

    /// The protocol of the request: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` or `HTTP/3.0`.
    pub fn version_name(&self) -> &'static str {
        match (self.client.protocol, self.request.borrow().version) {
            (Protocol::Http3, _) => "HTTP/3.0",
            (Protocol::Http2, _) => "HTTP/2.0",
            (Protocol::Http1, Version::Http10) => "HTTP/1.0",
            (Protocol::Http1, Version::Http11) => "HTTP/1.1",
        }
    }

    /// Microseconds on the worker's clock when it was last read, which it is before each phase and after each hook.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Seconds on the clock that all workers share, when the worker's was last read.
    pub(crate) fn monotonic_seconds(&self) -> f64 {
        self.clock.monotonic_seconds()
    }

    /// Reads the worker's clock.
    pub fn tick_us(&self) -> u64 {
        self.clock.tick()
    }

    /// What few exchanges need, made now if it is not there.
    pub fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Whether the response has trailers, so far.
    pub(crate) fn has_response_trailers(&self) -> bool {
        self.known_rare()
            .is_some_and(|rare| rare.response_trailers.borrow().is_some())
    }

    /// Whether it must be done by a certain time.
    #[inline]
    pub(crate) fn has_deadline(&self) -> bool {
        self.known_rare()
            .is_some_and(|rare| rare.deadline.borrow().is_some())
    }

    /// The same, if it is there.
    pub fn known_rare(&self) -> Option<&Rare> {
        self.rare.get().map(|rare| &**rare)
    }

    /// What hooks reach the WebSocket by, if the request opens one whose messages they see.
    pub(crate) fn channel(&self) -> Option<Rc<Channel>> {
        self.known_rare().and_then(|rare| rare.websocket.get().cloned())
    }

    /// What a hook may make of one piece of a body, in bytes.
    pub fn max_hook_chunk_bytes(&self) -> usize {
        self.tables.borrow().limits.max_hook_chunk_bytes
    }

    /// The longest body that a hook may hold whole, in bytes.
    pub fn max_buffered_body_bytes(&self) -> usize {
        usize::try_from(self.tables.borrow().limits.max_buffered_body_bytes).unwrap_or(usize::MAX)
    }

    /// The upstream of the configuration that the request goes to; none if a hook has named a server itself.
    pub(crate) fn configured_upstream(&self) -> Option<usize> {
        self.upstream.get().filter(|_| self.at_address.borrow().is_none())
    }

    /// The upstream of a newer configuration to which it has moved while it waited for a server.
    pub fn moved_to(&self) -> Option<Rc<Upstream>> {
        self.known_rare().and_then(|rare| rare.moved_to.borrow().clone())
    }

    /// The upstream that it goes to, if that is none of its tables.
    pub(crate) fn other_upstream(&self) -> Option<Rc<Upstream>> {
        let named = self.at_address.borrow().clone();
        named.or_else(|| self.moved_to())
    }

    /// The place that a server of its upstream has in its tables, whose order series have; beyond all of them if they do not
    /// have it.
    pub(crate) fn place_in_tables(&self, server: usize) -> usize {
        let (Some(moved_to), Some(upstream)) = (self.moved_to(), self.upstream.get()) else {
            return server;
        };
        let name = &moved_to.servers[server].name;
        let tables = self.tables.borrow();
        let mut servers = tables.upstreams[upstream].servers.iter();
        servers.position(|one| one.name == *name).unwrap_or(usize::MAX)
    }

    /// The name of the chosen route, empty before routing.
    pub fn route_name(&self) -> String {
        let tables = self.tables.borrow();
        self.route
            .get()
            .map_or_else(String::new, |route| tables.route(route).name.clone())
    }

    /// The chosen server's address as written in the configuration, empty before an attempt.
    pub fn server_address(&self) -> String {
        if let Some(upstream) = &*self.at_address.borrow() {
            return upstream.name.clone();
        }
        if let (Some(upstream), Some(server)) = (self.moved_to(), self.server.get()) {
            return upstream.servers[server].name.clone();
        }
        let tables = self.tables.borrow();
        match (self.upstream.get(), self.server.get()) {
            (Some(upstream), Some(server)) => tables.upstreams[upstream].servers[server].name.clone(),
            _ => String::new(),
        }
    }
}
