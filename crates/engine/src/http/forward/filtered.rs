//! A response whose body goes through hooks, or whose trailers they set, on its way to the client.
//!
//! # How it works
//! What comes before the head must be written is collected first: a short body then has a Content-Length although hooks
//! may change it, and a hook that fails on it can still be replaced by an error response. Then the rest follows piece by piece.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use headgate_wire::{frame_response, Content, Framing, ResponseFraming, ResponseHead, Version};

use super::carry::{carry, cut, keep, Carrier};
use super::plan::Plan;
use super::relay::{head, next};
use super::stale::Keeping;
use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::hooks::Hooks;
use crate::http::bodies::begin::content_coding;
use crate::http::bodies::chain::{Chain, ChainBroken, ChainContext, Input};
use crate::http::bodies::failures::{hook_failed, spool_failure};
use crate::http::bodies::filtered::{FilteredBody, FilteredBroken, Side};
use crate::http::bodies::made::merge_trailers;
use crate::http::bodies::payload::Payload;
use crate::http::bodies::piece::{Flow, On};
use crate::http::bodies::request_body::RequestBody;
use crate::http::bodies::validators::weaken;
use crate::http::h1::relay::RelayBroken;
use crate::snapshot::{BodyHook, Phase};
use crate::state::connection::{Connection, Next};
use crate::tables::Tables;
use headgate_coding::Coding;
use headgate_net::peer::{Broken, Peer};
use headgate_upstream::{Lease, Pooled};

/// What decides how a response is filtered.
pub(super) struct Filtering<'a> {
    pub(super) framing: Framing,
    pub(super) keeps_server: bool,
    pub(super) hooks: &'a [BodyHook],
    /// The coding it came in, for hooks that want text; `Err`: it is unknown.
    pub(super) coding: Result<Option<Coding>, ()>,
    /// What is sent to the client.
    pub(super) status: u16,
    pub(super) client_version: Version,
    pub(super) closes: bool,
    /// Where it is kept.
    pub(super) keeping: Option<Box<Keeping>>,
}

/// The coding that hooks want undone. A cheap question for a response without such hooks.
pub(super) fn coding(
    response: &ResponseHead,
    exchange: &Exchange,
    tables: &Tables,
) -> Result<Option<Coding>, ()> {
    let hooks = exchange.route.get().map_or(&[][..], |route| {
        tables.route(route).hooks.body(Phase::ResponseBody)
    });
    content_coding(&response.head, hooks)
}

/// Brings such a response to the client.
pub(super) async fn respond(
    connection: &mut Connection,
    plan: &Plan<'_>,
    mut server: Box<Pooled>,
    mut response: Filtering<'_>,
    body: &mut RequestBody,
    mut stopped: bool,
    lease: Lease,
) -> Result<Next, Failure> {
    let exchange = plan.exchange;
    refuse_unreadable(&response)?;
    let filtered = FilteredBody::new(chain(connection, plan, &response), Side::Response);
    let mut pump = FilteredCarrier {
        filtered,
        payload: Payload::new(response.framing, plan.tables.response_chunk_limits(plan.upstream)),
        exchange: Rc::clone(exchange),
        hooks: Rc::clone(&plan.tables.hooks),
        keeping: response.keeping.take(),
    };
    if response.framing != Framing::None {
        let mut begin = Begin(&mut pump);
        if !at_once(&mut begin, connection, plan, &mut server).await? {
            carry(connection, plan, &mut server, &mut begin, body, &mut stopped).await?;
        }
    }
    let framing = start(&mut pump, connection, plan, &response, body);
    let relayed = match at_once(&mut pump, connection, plan, &mut server).await {
        Ok(true) => Ok(()),
        Ok(false) => carry(connection, plan, &mut server, &mut pump, body, &mut stopped).await,
        Err(failure) => Err(failure),
    };
    exchange.response_bytes.set(pump.filtered.outlet.written);
    if pump.filtered.outlet.written == 0 {
        // composed, not sent: the client can still get an error response
        exchange.status.set(0);
    }
    connection
        .shared
        .buffers
        .keep_scrap(pump.filtered.outlet.into_scrap());
    drop(lease);
    relayed?;
    if let Some(keeping) = pump.keeping {
        keeping.end(&connection.shared);
    }
    if body.is_done() && response.keeps_server && response.framing != Framing::UntilClose {
        keep(connection, plan, server);
    }
    Ok(next(framing, body))
}

/// Composes the head, now that the hooks have seen what comes before it.
fn start(
    pump: &mut FilteredCarrier,
    connection: &Connection,
    plan: &Plan<'_>,
    response: &Filtering<'_>,
    body: &RequestBody,
) -> ResponseFraming {
    let exchange = plan.exchange;
    let has_body = response.framing != Framing::None;
    let content = match pump.filtered.length() {
        // what a GET would give is not known, so the reply to a HEAD does not declare it
        _ if !has_body => Content::None(None),
        _ if response.hooks.is_empty() && !exchange.has_response_trailers() => match response.framing {
            Framing::Length(length) => Content::Length(length),
            _ => Content::Open,
        },
        Some(length) if !exchange.has_response_trailers() => Content::Length(length),
        _ => Content::Open,
    };
    if !response.hooks.is_empty() && (!has_body || pump.may_change()) {
        if let Some(response) = &mut *exchange.response.borrow_mut() {
            weaken(&mut response.head);
        }
    }
    let framing = frame_response(
        exchange.request_kind,
        response.status,
        content,
        response.client_version,
        response.closes || !body.is_finished(),
    );
    let head = head(
        connection,
        plan,
        framing,
        response.client_version,
        connection.shared.clock.now_us(),
        connection.shared.buffers.scrap(),
    );
    pump.filtered.start(head, framing.is_chunked, framing.has_content);
    pump.payload.may_pipe = connection.peer.stream.socket().is_some() && pump.filtered.chain.is_of_streams();
    framing
}

/// Goes on as far as it goes without waiting; true if that was all, as it is with most bodies. Else [`carry`] waits.
async fn at_once<C: Carrier>(
    carrier: &mut C,
    connection: &mut Connection,
    plan: &Plan<'_>,
    server: &mut Pooled,
) -> Result<bool, Failure> {
    poll_fn(|context| {
        let polled = carrier.poll(context, &mut server.peer, &mut connection.peer, &mut On::Source);
        Poll::Ready(match polled {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(broken)) => Err(cut(connection, plan, &broken)),
            Poll::Pending => Ok(false),
        })
    })
    .await
}

fn refuse_unreadable(response: &Filtering<'_>) -> Result<(), Failure> {
    if response.coding.is_err() && !response.hooks.is_empty() && response.framing != Framing::None {
        return Err(Failure::from(FailureKind::UnknownResponseCoding));
    }
    Ok(())
}

fn chain(connection: &Connection, plan: &Plan<'_>, response: &Filtering<'_>) -> Chain {
    let common = ChainContext {
        exchange: Rc::clone(plan.exchange),
        hooks: Rc::clone(&plan.tables.hooks),
        clock: connection.shared.clock.clone(),
        metrics: connection.shared.metrics.clone(),
    };
    let coding = response.coding.unwrap_or(None);
    // a `response` hook that takes the field away wants the client to get it plain
    let codes_again = coding.is_some()
        && plan
            .exchange
            .response
            .borrow()
            .as_ref()
            .is_some_and(|head| head.head.get(b"content-encoding").is_some());
    Chain::new(common, response.hooks, coding, codes_again)
}

/// The way of the pieces, as a [`Carrier`].
struct FilteredCarrier {
    filtered: FilteredBody,
    payload: Payload,
    exchange: Rc<Exchange>,
    hooks: Rc<dyn Hooks>,
    keeping: Option<Box<Keeping>>,
}

/// The same before the head.
struct Begin<'a>(&'a mut FilteredCarrier);

impl FilteredCarrier {
    /// Whether the client may get another body than the server sent.
    fn may_change(&self) -> bool {
        self.filtered.chain.has_changed() || self.filtered.length().is_none()
    }

    fn failed(&self, broken: ChainBroken<RelayBroken>) -> RelayBroken {
        let failure = match broken {
            ChainBroken::Input(broken) => return broken,
            ChainBroken::Hook => hook_failed(),
            ChainBroken::Replied(response) => {
                self.exchange.rare().hook_response.replace(Some(response));
                Failure::new(FailureKind::HookReplied, "a body hook responds")
            }
            ChainBroken::TooLarge => Failure::from(FailureKind::HeldResponseTooLarge),
            ChainBroken::Coding => Failure::from(FailureKind::BadResponseCoding),
            ChainBroken::Spool(error) => spool_failure(&error),
        };
        RelayBroken::Failed(Box::new(failure))
    }
}

struct ServerInput<'a> {
    payload: &'a mut Payload,
    server: &'a mut Peer,
    exchange: &'a Exchange,
    hooks: &'a dyn Hooks,
    keeping: &'a mut Option<Box<Keeping>>,
}

impl Input for ServerInput<'_> {
    type Error = RelayBroken;

    fn poll_flow(&mut self, context: &mut Context<'_>, on: &mut On) -> Poll<Result<Flow, RelayBroken>> {
        *on = On::Source;
        let flow = ready!(self.payload.poll_flow(context, self.server, self.hooks))?;
        if let Some(trailers) = self.payload.trailers.take() {
            merge_trailers(&self.exchange.rare().response_trailers, trailers);
        }
        if let Some(keeping) = self.keeping {
            if !keeping.take(flow.data.as_ref().map(|data| data.bytes()), flow.is_last) {
                *self.keeping = None;
            }
        }
        Poll::Ready(Ok(flow))
    }

    fn is_long(&self) -> bool {
        self.payload.is_long()
    }
}

impl Carrier for Begin<'_> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        _client: &mut Peer,
        on: &mut On,
    ) -> Poll<Result<(), RelayBroken>> {
        let carrier = &mut *self.0;
        let mut input = ServerInput {
            payload: &mut carrier.payload,
            server,
            exchange: &carrier.exchange,
            hooks: &*carrier.hooks,
            keeping: &mut carrier.keeping,
        };
        let begun = ready!(carrier.filtered.poll_begin(context, &mut input, on));
        Poll::Ready(begun.map_err(|broken| carrier.failed(*broken)))
    }

    fn progress(&self) -> u64 {
        self.0.filtered.made
    }
}

impl Carrier for FilteredCarrier {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        client: &mut Peer,
        on: &mut On,
    ) -> Poll<Result<(), RelayBroken>> {
        // a hook that has changed a piece will change others
        self.payload.may_pipe &= !self.filtered.chain.has_changed();
        let mut input = ServerInput {
            payload: &mut self.payload,
            server,
            exchange: &self.exchange,
            hooks: &*self.hooks,
            keeping: &mut self.keeping,
        };
        let polled = ready!(self.filtered.poll(context, client, &mut input, on));
        Poll::Ready(polled.map_err(|broken| match broken {
            FilteredBroken::Sink(error) => RelayBroken::Client(Broken::Io(error)),
            FilteredBroken::Chain(broken) => self.failed(*broken),
        }))
    }

    fn progress(&self) -> u64 {
        self.filtered.outlet.written + self.filtered.made
    }
}
