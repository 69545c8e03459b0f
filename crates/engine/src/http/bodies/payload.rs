//! The payload of a server's response, read in pieces.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{ready, Context, Poll};

use tokio::io::ReadBuf;

use headgate_wire::{ChunkLimits, ChunkStep, ChunkedDecoder, Framing, Head};

use super::piece::{Chunk, Flow};
use crate::hooks::Hooks;
use crate::http::h1::relay::RelayBroken;
use crate::http::h1::splice::SPLICE_FROM_BYTES;
use headgate_net::peer::{Broken, Peer, BUFFER_BYTES};
use headgate_net::pipe::{Pipe, PIPE_BYTES};
use headgate_net::turns::Turn;

/// See the module.
pub(crate) struct Payload {
    source: PayloadSource,
    /// The trailers, after the end.
    pub(crate) trailers: Option<Head>,
    turn: Turn,
    /// Pieces may come in a pipe too: both sides are sockets, and hooks only look, as far as is known.
    pub(crate) may_pipe: bool,
    /// The server sent faster than was read, when it was read last.
    is_ahead: bool,
}

/// Shorter pieces are copied back rather than kept in a pipe: that takes more system calls.
const PIPE_FROM_BYTES: usize = 32 * 1024;

enum PayloadSource {
    Length(u64),
    UntilClose,
    Chunked {
        decoder: Box<ChunkedDecoder>,
        /// Data that the last step found behind the piece it gave.
        data: usize,
    },
}

impl Payload {
    pub(crate) fn new(framing: Framing, chunk_limits: ChunkLimits) -> Self {
        let source = match framing {
            Framing::None => PayloadSource::Length(0),
            Framing::Length(length) => PayloadSource::Length(length),
            Framing::UntilClose => PayloadSource::UntilClose,
            Framing::Chunked => PayloadSource::Chunked {
                decoder: Box::new(ChunkedDecoder::new(chunk_limits)),
                data: 0,
            },
        };
        Self {
            source,
            trailers: None,
            turn: Turn::default(),
            may_pipe: false,
            // the first piece is what was there when the head was read
            is_ahead: true,
        }
    }

    /// Whether more is to come than is worth waiting for.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self.source, PayloadSource::Length(left) if left >= SPLICE_FROM_BYTES)
    }

    /// The next piece, in a chunk of the hooks' own kind.
    pub(crate) fn poll_flow(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        hooks: &dyn Hooks,
    ) -> Poll<Result<Flow, RelayBroken>> {
        loop {
            if let Some(flow) = self.take(server, hooks)? {
                return Poll::Ready(Ok(flow));
            }
            // of a long body only the first piece comes with the head: the others go right to where hooks want them
            if server.unread().is_empty() && server.stream.socket().is_some() {
                match &mut self.source {
                    PayloadSource::Length(left) => {
                        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(PIPE_BYTES);
                        let pays = self.may_pipe && self.is_ahead && most >= PIPE_FROM_BYTES;
                        // without a descriptor left it goes on as well
                        let pipe = pays.then(|| server.pipes().take().ok()).flatten();
                        let mut flow = if let Some(pipe) = pipe {
                            ready!(poll_pipe(context, server, hooks, pipe, most, &mut self.turn))?
                        } else {
                            let chunk = ready!(poll_read(context, server, hooks, most, &mut self.turn))?;
                            Flow::of(chunk, false)
                        };
                        let len = flow.len();
                        // a system that cannot copy between pipes is not tried again
                        self.may_pipe &= !pays || len < PIPE_FROM_BYTES || flow.piped.is_some();
                        if len == 0 {
                            return Poll::Ready(Err(RelayBroken::Server(Broken::Closed)));
                        }
                        self.is_ahead = len >= PIPE_FROM_BYTES;
                        *left -= len as u64;
                        flow.is_last = *left == 0;
                        return Poll::Ready(Ok(flow));
                    }
                    PayloadSource::UntilClose => {
                        let chunk = ready!(poll_read(context, server, hooks, PIPE_BYTES, &mut self.turn))?;
                        let is_last = chunk.bytes().is_empty();
                        return Poll::Ready(Ok(Flow::of(chunk, is_last)));
                    }
                    PayloadSource::Chunked { .. } => {}
                }
            }
            match ready!(server.poll_fill_in_turn(context, BUFFER_BYTES, &mut self.turn)) {
                Err(error) => return Poll::Ready(Err(RelayBroken::Server(Broken::Io(error)))),
                Ok(0) if matches!(self.source, PayloadSource::UntilClose) => {
                    return Poll::Ready(Ok(Flow::end()))
                }
                Ok(0) => return Poll::Ready(Err(RelayBroken::Server(Broken::Closed))),
                Ok(_) => {}
            }
        }
    }

    /// What is here already.
    fn take(&mut self, server: &mut Peer, hooks: &dyn Hooks) -> Result<Option<Flow>, RelayBroken> {
        match &mut self.source {
            PayloadSource::Length(0) => Ok(Some(Flow::end())),
            _ if server.unread().is_empty() => Ok(None),
            PayloadSource::Length(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(server.unread().len());
                let chunk = hooks.piece(&server.unread()[..now]);
                server.consume(now);
                *left -= now as u64;
                Ok(Some(Flow::of(chunk, *left == 0)))
            }
            PayloadSource::UntilClose => {
                let chunk = hooks.piece(server.unread());
                server.consume(server.unread().len());
                Ok(Some(Flow::of(chunk, false)))
            }
            PayloadSource::Chunked { decoder, data } => {
                if *data == 0 {
                    if let FramingStep::End(trailers) = step(decoder, data, server)? {
                        self.trailers = trailers;
                        return Ok(Some(Flow::end()));
                    }
                    if *data == 0 {
                        return Ok(None);
                    }
                }
                let chunk = hooks.piece(&server.unread()[..*data]);
                server.consume(std::mem::take(data));
                // the end often came along: then the hooks need not be called once more for it
                let is_last = match step(decoder, data, server)? {
                    FramingStep::NoEnd => false,
                    FramingStep::End(trailers) => {
                        self.trailers = trailers;
                        true
                    }
                };
                Ok(Some(Flow::of(chunk, is_last)))
            }
        }
    }
}

/// Reads from the socket into a chunk of the hooks' own kind.
fn poll_read(
    context: &mut Context<'_>,
    server: &mut Peer,
    hooks: &dyn Hooks,
    most: usize,
    turn: &mut Turn,
) -> Poll<Result<Chunk, RelayBroken>> {
    ready!(server.turns().poll(context, turn));
    // asked before a chunk is made
    let chunk = match server.stream.poll_read_ready(context) {
        Poll::Ready(Ok(())) => {
            let mut read = |room: &mut ReadBuf<'_>| server.stream.poll_read_socket(context, room);
            hooks.read_piece(most, &mut read)
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    };
    if chunk.is_pending() {
        server.turns().give_back();
    }
    chunk.map_err(|error| RelayBroken::Server(Broken::Io(error)))
}

/// Moves bytes from the socket into a pipe and copies them from there into a chunk of the hooks' own kind.
fn poll_pipe(
    context: &mut Context<'_>,
    server: &mut Peer,
    hooks: &dyn Hooks,
    mut pipe: Box<Pipe>,
    most: usize,
    turn: &mut Turn,
) -> Poll<Result<Flow, RelayBroken>> {
    let failed = |error| RelayBroken::Server(Broken::Io(error));
    let mut polled = server.turns().poll(context, turn).map(|()| Ok(0));
    if polled.is_ready() {
        polled = pipe.poll_fill(context, server, most as u64);
        if polled.is_pending() {
            server.turns().give_back();
        }
    }
    let Poll::Ready(filled) = polled else {
        // nothing is held while the server is waited for
        server.pipes().give(pipe);
        return Poll::Pending;
    };
    pipe.filled = filled.map_err(failed)?;
    if pipe.filled == 0 {
        server.pipes().give(pipe);
        return Poll::Ready(Ok(Flow::default()));
    }
    let read = |length: usize, pipe: BorrowedFd<'_>| {
        let chunk = hooks.read_pipe(length, pipe)?;
        if chunk.bytes().len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(chunk)
    };
    let chunk = if pipe.filled < PIPE_FROM_BYTES {
        pipe.empty(read)
    } else {
        server.pipes().look(&mut pipe, read)
    };
    let chunk = chunk.map_err(failed)?;
    let mut flow = Flow::of(chunk, false);
    if pipe.filled > 0 {
        flow.piped = Some(pipe);
    } else {
        server.pipes().give(pipe);
    }
    Poll::Ready(Ok(flow))
}

/// What a step over framing came to.
enum FramingStep {
    /// The next data, or the end of what is here.
    NoEnd,
    /// The end of the body, and the trailers.
    End(Option<Head>),
}

/// Steps over framing to the next data (`data` is set), the end, or the end of what is here.
fn step(
    decoder: &mut ChunkedDecoder,
    data: &mut usize,
    server: &mut Peer,
) -> Result<FramingStep, RelayBroken> {
    match decoder.step(server.unread()).map_err(RelayBroken::Framing)? {
        ChunkStep::NeedMore { consumed } => server.consume(consumed),
        ChunkStep::Data { consumed_before, len } => {
            server.consume(consumed_before);
            *data = len;
        }
        ChunkStep::End { consumed } => {
            server.consume(consumed);
            return Ok(FramingStep::End(decoder.take_trailers()));
        }
    }
    Ok(FramingStep::NoEnd)
}
