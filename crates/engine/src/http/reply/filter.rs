//! The body of a local reply on its way through hooks.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::local_reply::{LocalReply, ReplyBody};
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::{BodyFailed, BodySource, LocalFuture};
use crate::http::bodies::chain::{Chain, ChainBroken, ChainContext, Input};
use crate::http::bodies::failures::{hook_failed, spool_failure};
use crate::http::bodies::filtered::Pull;
use crate::http::bodies::piece::{Chunk, Flow, On};
use crate::http::bodies::request_body::RequestBody;
use crate::http::bodies::validators::weaken;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::phases::poll_client;
use crate::snapshot::BodyHook;
use crate::state::connection::Connection;
use headgate_coding::Coding;
use headgate_wire::{is_without_content, RequestKind};

/// What is read of a file at once.
const FILE_READ_BYTES: u64 = 64 * 1024;

/// A longer body is sent while it is made.
const BEGIN_BYTES: usize = 64 * 1024;

/// Runs the body of a local reply through hooks: all of it if it is short, else it becomes a stream.
pub(crate) async fn filter(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    mut reply: LocalReply,
    body: &mut RequestBody,
    hooks: &[BodyHook],
    coding: Result<Option<Coding>, ()>,
) -> Result<LocalReply, Failure> {
    // a `response` hook that takes the field away wants the client to get it plain
    let codes_again = reply.head.get(b"content-encoding").is_some();
    let coding = coding.map_err(|()| {
        Failure::new(
            FailureKind::UnknownReplyCoding,
            "a hook reads the decoded body, and the response's content-encoding is not supported",
        )
    })?;
    if exchange.request_kind != RequestKind::Content || is_without_content(reply.status) {
        weaken(&mut reply.head);
        // how long it would be is not known
        reply.body = ReplyBody::Stream(Box::new(Nothing));
        return Ok(reply);
    }
    let common = ChainContext {
        exchange: Rc::clone(exchange),
        hooks: Rc::clone(&tables.hooks),
        clock: connection.shared.clock.clone(),
        metrics: connection.shared.metrics.clone(),
    };
    let mut filtering = ReplyFilter {
        chain: Chain::new(common, hooks, coding, codes_again),
        input: ReplyInput::of(reply.body),
        begun: Vec::new(),
        is_ended: false,
    };
    let readable = reply.reads_on.then_some(body);
    begin(connection, exchange, &mut filtering, readable).await?;
    if filtering.chain.has_changed() || !filtering.is_ended {
        weaken(&mut reply.head);
    }
    reply.body = if filtering.is_ended {
        ReplyBody::Bytes(filtering.begun)
    } else {
        ReplyBody::Stream(Box::new(filtering))
    };
    Ok(reply)
}

async fn begin(
    connection: &mut Connection,
    exchange: &Exchange,
    filtering: &mut ReplyFilter,
    mut readable: Option<&mut RequestBody>,
) -> Result<(), Failure> {
    let mut disconnect = DisconnectWatcher::new(exchange.tables.borrow().limits.allow_half_close);
    connection.watch.disarm();
    poll_fn(|context| {
        while !filtering.is_ended && filtering.begun.len() < BEGIN_BYTES {
            let mut on = On::Source;
            match filtering.poll(context, &mut on) {
                Poll::Ready(Ok(Some(data))) => filtering.begun.extend_from_slice(data.bytes()),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(failure(exchange, *broken))),
                Poll::Pending if on == On::Source && !filtering.chain.holds_back() => break,
                Poll::Pending => {
                    let body = readable.as_deref_mut();
                    return poll_client(context, connection, exchange, body, &mut disconnect).map(Err);
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

fn failure(exchange: &Exchange, broken: ChainBroken<BodyFailed>) -> Failure {
    match broken {
        ChainBroken::Input(BodyFailed) => Failure::from(FailureKind::HookBodyFailed),
        ChainBroken::Hook => hook_failed(),
        ChainBroken::Replied(response) => {
            exchange.rare().hook_response.replace(Some(response));
            Failure::new(FailureKind::HookReplied, "a body hook responds")
        }
        ChainBroken::TooLarge => Failure::new(
            FailureKind::HeldReplyTooLarge,
            "the response is larger than a hook may buffer",
        ),
        ChainBroken::Coding => Failure::new(
            FailureKind::BadReplyCoding,
            "the response's body does not match its content-encoding",
        ),
        ChainBroken::Spool(error) => spool_failure(&error),
    }
}

/// A chain over a local reply's body; as a source, what comes after the begin too.
struct ReplyFilter {
    chain: Chain,
    input: ReplyInput,
    begun: Vec<u8>,
    is_ended: bool,
}

impl ReplyFilter {
    /// The next data; `None` if there was none in this step.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        on: &mut On,
    ) -> Poll<Result<Option<Chunk>, Box<ChainBroken<BodyFailed>>>> {
        self.chain.poll_flow(context, &mut self.input, on).map_ok(|flow| {
            self.is_ended = flow.is_last;
            flow.data
        })
    }
}

impl BodySource for ReplyFilter {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Vec<u8>, BodyFailed>>> {
        Box::pin(async move {
            if !self.begun.is_empty() {
                return Some(Ok(std::mem::take(&mut self.begun)));
            }
            poll_fn(|context| loop {
                if self.is_ended {
                    return Poll::Ready(None);
                }
                match self.poll(context, &mut On::Source) {
                    Poll::Ready(Ok(Some(data))) => return Poll::Ready(Some(Ok(data.bytes().to_vec()))),
                    Poll::Ready(Ok(None)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(BodyFailed))),
                    Poll::Pending => return Poll::Pending,
                }
            })
            .await
        })
    }
}

/// The body of a response to HEAD whose length is not known.
struct Nothing;

impl BodySource for Nothing {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Vec<u8>, BodyFailed>>> {
        Box::pin(std::future::ready(None))
    }
}

enum ReplyInput {
    Bytes(Option<Chunk>),
    Stream(Pull),
    File { file: File, at: u64, left: u64 },
}

impl ReplyInput {
    fn of(body: ReplyBody) -> Self {
        match body {
            // a tunnel has no body: it never comes here
            ReplyBody::None(_) | ReplyBody::Tunnel(_) => Self::Bytes(None),
            ReplyBody::Bytes(bytes) => Self::Bytes(Some(Rc::new(bytes))),
            ReplyBody::Stream(source) => Self::Stream(Pull::Idle(source)),
            ReplyBody::File { file, start, length } => Self::File {
                file,
                at: start,
                left: length,
            },
        }
    }
}

impl Input for ReplyInput {
    type Error = BodyFailed;

    fn poll_flow(&mut self, context: &mut Context<'_>, on: &mut On) -> Poll<Result<Flow, BodyFailed>> {
        *on = On::Source;
        match self {
            Self::Bytes(bytes) => Poll::Ready(Ok(bytes
                .take()
                .map_or_else(Flow::end, |bytes| Flow::of(bytes, true)))),
            Self::Stream(pull) => pull.poll(context),
            Self::File { file, at, left } => {
                let mut piece = vec![0; usize::try_from((*left).min(FILE_READ_BYTES)).unwrap_or(0)];
                if file.read_exact_at(&mut piece, *at).is_err() {
                    return Poll::Ready(Err(BodyFailed));
                }
                *at += piece.len() as u64;
                *left -= piece.len() as u64;
                Poll::Ready(Ok(Flow::of(Rc::new(piece), *left == 0)))
            }
        }
    }
}
