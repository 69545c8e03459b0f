//! A request's body as hooks make it: read from the client, kept, replaced or streamed, and filtered on its way.

use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::chain::{Chain, ChainBroken, Input};
use super::failures::{client_body_timeout, held_too_large, hook_failed, spool_failure};
use super::filtered::{FilteredBody, FilteredBroken, Pull, Side};
use super::piece::{Chunk, Flow, On};
use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::hooks::Hooks;
use crate::http::bodies::request_body::{BodyBroken, RequestBody, Waits};
use headgate_net::peer::Peer;

/// See the module.
pub(crate) struct Made {
    filtered: FilteredBody,
    source: MadeSource,
    exchange: Rc<Exchange>,
    hooks: Rc<dyn Hooks>,
    max_bytes: u64,
    /// Where to go on after what went out with the head, for a body that can be sent again.
    again_from: Option<u64>,
    is_chunked: bool,
}

/// Where it comes from.
pub(crate) enum MadeSource {
    /// From the client, as it comes.
    Client,
    /// From what was kept, then from the client unless all was.
    Kept { at: u64, is_whole: bool },
    /// These bytes.
    Bytes(Option<Chunk>),
    /// What a hook streams.
    Stream(Pull),
}

impl Made {
    pub(crate) fn new(
        chain: Chain,
        source: MadeSource,
        exchange: &Rc<Exchange>,
        hooks: &Rc<dyn Hooks>,
        max_bytes: u64,
    ) -> Self {
        Self {
            filtered: FilteredBody::new(chain, Side::Request),
            source,
            exchange: Rc::clone(exchange),
            hooks: Rc::clone(hooks),
            max_bytes,
            again_from: None,
            is_chunked: false,
        }
    }

    /// Nothing more goes to the server.
    pub(crate) fn is_done(&self) -> bool {
        self.filtered.is_done()
    }

    /// The failure when the next piece takes too long: by the client, or by a hook's stream.
    pub(crate) fn late(&self) -> Failure {
        if matches!(self.source, MadeSource::Stream(_)) {
            return Failure::from(FailureKind::HookBodyTimeout);
        }
        client_body_timeout()
    }

    /// The length of the whole, where it is known after the begin.
    pub(crate) fn length(&self) -> Option<u64> {
        self.filtered.length()
    }

    /// Collects what goes out with the head.
    pub(crate) fn poll_begin(
        &mut self,
        context: &mut Context<'_>,
        body: &mut RequestBody,
        client: &mut Peer,
        on: &mut On,
    ) -> Poll<Result<(), BodyBroken>> {
        let mut input = RequestInput {
            body,
            client,
            source: &mut self.source,
            exchange: &self.exchange,
            hooks: &*self.hooks,
        };
        let begun = ready!(self.filtered.poll_begin(context, &mut input, on));
        begun.map_err(|broken| self.failed(*broken))?;
        Poll::Ready(self.bounded())
    }

    /// Frames what was collected: it goes out behind the head, and again with each attempt.
    pub(crate) fn start(&mut self, is_chunked: bool) -> Vec<u8> {
        self.is_chunked = is_chunked;
        self.filtered.start(Vec::new(), is_chunked, true);
        let mut here = Vec::new();
        self.filtered.outlet.drain_into(&mut here);
        if let MadeSource::Kept { at, is_whole: true } = self.source {
            self.again_from = self.filtered.chain.is_empty().then_some(at);
        }
        here
    }

    /// An attempt begins: what the last one took of a body that is kept goes out again.
    pub(crate) fn restart(&mut self) {
        if let (Some(from), MadeSource::Kept { at, .. }) = (self.again_from, &mut self.source) {
            if *at != from {
                *at = from;
                self.filtered.reopen();
            }
        }
    }

    /// As [`RequestBody::poll_pump`].
    pub(crate) fn poll_pump(
        &mut self,
        context: &mut Context<'_>,
        body: &mut RequestBody,
        client: &mut Peer,
        server: &mut Peer,
        moved: &mut bool,
        waits: &mut Waits,
    ) -> Poll<Result<(), BodyBroken>> {
        let (written, made, received) = (self.filtered.outlet.written, self.filtered.made, body.received);
        let mut on = On::Source;
        let mut input = RequestInput {
            body,
            client,
            source: &mut self.source,
            exchange: &self.exchange,
            hooks: &*self.hooks,
        };
        let polled = self.filtered.poll(context, server, &mut input, &mut on);
        let body = input.body;
        body.is_committed |= self.filtered.outlet.written != written && self.again_from.is_none();
        *moved |= self.filtered.outlet.written != written
            || self.filtered.made != made
            || body.received != received;
        *waits = match on {
            On::Source => Waits::Client,
            On::Sink => Waits::Server,
            On::Hook => Waits::Hook,
        };
        self.bounded()?;
        match ready!(polled) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(FilteredBroken::Sink(_)) => Poll::Ready(Err(BodyBroken::Server)),
            Err(FilteredBroken::Chain(broken)) => Poll::Ready(Err(self.failed(*broken))),
        }
    }

    /// What hooks make of a body is bounded as the client's is.
    fn bounded(&self) -> Result<(), BodyBroken> {
        if self.filtered.made <= self.max_bytes {
            return Ok(());
        }
        self.exchange.limit.set("limits.max_body_bytes");
        Err(BodyBroken::Failed(Box::new(Failure::from(
            FailureKind::HookBodyTooLarge,
        ))))
    }

    fn failed(&self, broken: ChainBroken<BodyBroken>) -> BodyBroken {
        let failure = match broken {
            ChainBroken::Input(broken) => return broken,
            ChainBroken::Hook => hook_failed(),
            ChainBroken::Replied(response) => {
                self.exchange.rare().hook_response.replace(Some(response));
                Failure::new(FailureKind::HookReplied, "a body hook responds")
            }
            ChainBroken::TooLarge => held_too_large(),
            ChainBroken::Coding => Failure::from(FailureKind::BadContentCoding),
            ChainBroken::Spool(error) => spool_failure(&error),
        };
        BodyBroken::Failed(Box::new(failure))
    }
}

struct RequestInput<'a> {
    body: &'a mut RequestBody,
    client: &'a mut Peer,
    source: &'a mut MadeSource,
    exchange: &'a Exchange,
    hooks: &'a dyn Hooks,
}

impl Input for RequestInput<'_> {
    type Error = BodyBroken;

    fn poll_flow(&mut self, context: &mut Context<'_>, on: &mut On) -> Poll<Result<Flow, BodyBroken>> {
        loop {
            *on = On::Source;
            match self.source {
                MadeSource::Client => {
                    let before = self.body.received;
                    let polled = self.body.poll_flow(context, self.client, self.hooks);
                    let received = self.body.received - before;
                    let total = &self.exchange.request_bytes;
                    total.set(total.get() + received);
                    let flow = ready!(polled)?;
                    if flow.is_last {
                        keep_trailers(self.body, self.exchange);
                    }
                    return Poll::Ready(Ok(flow));
                }
                MadeSource::Kept { at, is_whole } => {
                    let spool = self.exchange.rare().intake.spool.borrow();
                    let Some(spool) = &*spool else {
                        *self.source = MadeSource::Client;
                        continue;
                    };
                    let left = spool.len() - *at;
                    if left == 0 && !*is_whole {
                        *self.source = MadeSource::Client;
                        continue;
                    }
                    let failed = |error| BodyBroken::Failed(Box::new(spool_failure(&error)));
                    let piece = spool.piece(*at).map_err(failed)?;
                    *at += piece.len() as u64;
                    let is_last = *is_whole && *at == spool.len();
                    let mut flow = Flow::of(Rc::new(piece), is_last);
                    flow.rest = is_whole.then_some(left);
                    return Poll::Ready(Ok(flow));
                }
                MadeSource::Bytes(chunk) => {
                    return Poll::Ready(Ok(chunk
                        .take()
                        .map_or_else(Flow::end, |chunk| Flow::of(chunk, true))));
                }
                MadeSource::Stream(pull) => {
                    let failed = |_| BodyBroken::Failed(Box::new(Failure::from(FailureKind::HookBodyFailed)));
                    return pull.poll(context).map_err(failed);
                }
            }
        }
    }
}

/// Lets hooks see the client's trailers; those that hooks have set already come after them.
pub(crate) fn keep_trailers(body: &mut RequestBody, exchange: &Exchange) {
    if let Some(trailers) = body.trailers.take() {
        merge_trailers(&exchange.rare().request_trailers, trailers);
    }
}

/// Puts what came under what hooks have set.
pub(crate) fn merge_trailers(
    slot: &std::cell::RefCell<Option<headgate_wire::Head>>,
    mut came: headgate_wire::Head,
) {
    let mut slot = slot.borrow_mut();
    if let Some(set) = slot.take() {
        for (name, value) in set.iter() {
            // checked when a hook set it
            let _ = came.set(name, value);
        }
    }
    *slot = Some(came);
}
