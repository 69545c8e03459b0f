//! A body on its way through a chain to a peer: what is known of it before its head is written, then the rest.

use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::chain::{Chain, ChainBroken, Input};
use super::outlet::Outlet;
use super::piece::{Flow, On};
use crate::hooks::{BodyFailed, BodySource, LocalFuture};
use headgate_net::peer::Peer;

/// So much may come out before the head is written, so that a short body has a Content-Length.
const BEGIN_BYTES: usize = 64 * 1024;

/// The same of a body that is long, whose length is hardly known where hooks see it.
const LONG_BEGIN_BYTES: usize = 32 * 1024;

/// See the module.
pub(crate) struct FilteredBody {
    pub(crate) chain: Chain,
    pub(crate) outlet: Outlet,
    is_ended: bool,
    /// The length declared with the first piece.
    told: Option<u64>,
    has_begun: bool,
    /// All bytes that came out of the chain.
    pub(crate) made: u64,
    side: Side,
}

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Request,
    Response,
}

/// Why it cannot go on.
pub(crate) enum FilteredBroken<E> {
    Chain(Box<ChainBroken<E>>),
    Sink(io::Error),
}

impl FilteredBody {
    pub(crate) fn new(chain: Chain, side: Side) -> Self {
        Self {
            chain,
            outlet: Outlet::default(),
            is_ended: false,
            told: None,
            has_begun: false,
            made: 0,
            side,
        }
    }

    /// Collects what comes before the head has to be written: all of a short body, or what there is when the source has
    /// to be waited for. Where a hook wants the body whole, that is waited for.
    pub(crate) fn poll_begin<I: Input>(
        &mut self,
        context: &mut Context<'_>,
        input: &mut I,
        on: &mut On,
    ) -> Poll<Result<(), Box<ChainBroken<I::Error>>>> {
        while !self.is_ended && self.told.is_none() && self.outlet.pending() < BEGIN_BYTES {
            if self.outlet.pending() >= LONG_BEGIN_BYTES && input.is_long() {
                break;
            }
            match self.chain.poll_flow(context, input, on) {
                Poll::Ready(flow) => self.take(flow?),
                Poll::Pending if *on == On::Source && !self.chain.holds_back() => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The length of all that comes out, where it is known after the begin.
    pub(crate) fn length(&self) -> Option<u64> {
        if self.is_ended {
            Some(self.made)
        } else {
            self.told
        }
    }

    /// The head is there, and how the body is framed.
    pub(crate) fn start(&mut self, head: Vec<u8>, is_chunked: bool, has_body: bool) {
        self.has_begun = true;
        self.outlet.begin(head, is_chunked);
        self.is_ended |= !has_body;
        if self.is_ended {
            self.finish();
        }
    }

    /// Goes on until all is written.
    pub(crate) fn poll<I: Input>(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut Peer,
        input: &mut I,
        on: &mut On,
    ) -> Poll<Result<(), FilteredBroken<I::Error>>> {
        loop {
            *on = On::Sink;
            ready!(self.outlet.poll_flush(context, sink)).map_err(FilteredBroken::Sink)?;
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            *on = On::Source;
            let flow = ready!(self.chain.poll_flow(context, input, on)).map_err(FilteredBroken::Chain)?;
            self.take(flow);
            if self.is_ended {
                self.finish();
            }
        }
    }

    /// All was written.
    pub(crate) fn is_done(&self) -> bool {
        self.has_begun && self.is_ended && !self.outlet.has_more()
    }

    /// The source begins anew, behind what went out with the head.
    pub(crate) fn reopen(&mut self) {
        self.is_ended = false;
        self.outlet = Outlet::default();
    }

    fn finish(&mut self) {
        let trailers = self.chain.exchange().known_rare().map(|rare| match self.side {
            Side::Request => rare.request_trailers.borrow(),
            Side::Response => rare.response_trailers.borrow(),
        });
        self.outlet
            .finish(trailers.as_ref().and_then(|trailers| trailers.as_ref()));
    }

    fn take(&mut self, flow: Flow) {
        if self.made == 0 && self.told.is_none() {
            self.told = flow.rest;
        }
        self.made += flow.len() as u64;
        self.is_ended = flow.is_last;
        match (flow.data, flow.piped) {
            (Some(_), Some(pipe)) => self.outlet.push_piped(pipe),
            (Some(data), None) => self.outlet.push(data),
            (None, _) => {}
        }
    }
}

/// A body that a hook streams, as an input.
pub(crate) enum Pull {
    Idle(Box<dyn BodySource>),
    Pulling(Pulling),
    Done,
}

type Pulling = LocalFuture<'static, (Box<dyn BodySource>, Option<Result<Vec<u8>, BodyFailed>>)>;

impl Pull {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Flow, BodyFailed>> {
        loop {
            match std::mem::replace(self, Self::Done) {
                Self::Done => return Poll::Ready(Ok(Flow::end())),
                Self::Idle(mut source) => {
                    *self = Self::Pulling(Box::pin(async move {
                        let next = source.next().await;
                        (source, next)
                    }));
                }
                Self::Pulling(mut pulling) => {
                    let Poll::Ready((source, next)) = pulling.as_mut().poll(context) else {
                        *self = Self::Pulling(pulling);
                        return Poll::Pending;
                    };
                    match next {
                        None => return Poll::Ready(Ok(Flow::end())),
                        Some(Err(failed)) => return Poll::Ready(Err(failed)),
                        Some(Ok(piece)) => {
                            *self = Self::Idle(source);
                            if !piece.is_empty() {
                                return Poll::Ready(Ok(Flow::of(Rc::new(piece), false)));
                            }
                        }
                    }
                }
            }
        }
    }
}
