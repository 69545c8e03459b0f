//! The response's body on its way from a server to the client, framed anew.
//!
//! # How it works
//! A state machine that is polled: write what is ready (framing, then a slice of the server's unread bytes), else frame
//! what has been read, else read. Nothing is read while something waits to be written, so that a slow client holds back
//! its server and costs at most one read. Long bodies of known length between plain sockets go through a pipe with
//! splice(2) and never enter this process.

use std::task::{ready, Context, Poll};

use headgate_wire::{
    write_chunk_size, write_last_chunk, ChunkError, ChunkLimits, ChunkStep, ChunkedDecoder, Framing, Head,
    CRLF,
};

use super::splice::{Splice, SPLICE_FROM_BYTES};
use crate::failure::Failure;
use headgate_net::peer::{Broken, Peer, BUFFER_BYTES};
use headgate_net::turns::Turn;

/// What is read at once from a server whose client once could not keep up.
const SLOW_READ_BYTES: usize = 16 * 1024;

enum ResponseSource {
    Done,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
}

/// See the module.
#[allow(clippy::struct_excessive_bools)] // four facts that do not exclude each other
pub(crate) struct Relay {
    source: ResponseSource,
    /// The client gets chunks.
    is_chunked: bool,
    /// Bytes to write before the slice (at first the head), and how many of them are written.
    pub(crate) framing: Vec<u8>,
    framing_written: usize,
    slice: usize,
    owes_crlf: bool,
    is_slow: bool,
    splice: Option<Splice>,
    may_splice: bool,
    turn: Turn,
    /// All bytes written to the client.
    pub(crate) written: u64,
    /// The trailers, after the end.
    pub(crate) trailers: Option<Head>,
}

/// Looks through the chunks that came with the head: as long as nothing is sent, a fault in them is an error response, whatever
/// version of HTTP the client speaks.
fn judge(decoder: &ChunkedDecoder, mut unread: &[u8]) -> Result<(), ChunkError> {
    let mut ahead = decoder.clone();
    loop {
        match ahead.step(unread)? {
            ChunkStep::NeedMore { .. } | ChunkStep::End { .. } => return Ok(()),
            ChunkStep::Data { consumed_before, len } => unread = &unread[consumed_before + len..],
        }
    }
}

/// Which side broke.
#[derive(Debug)]
pub(crate) enum RelayBroken {
    Client(Broken),
    Server(Broken),
    /// The server's framing was wrong.
    Framing(ChunkError),
    /// What hooks do with the body failed.
    Failed(Box<Failure>),
}

impl Relay {
    /// `head` goes out first. `is_chunked`: frame the body in chunks for the client.
    pub(crate) fn new(
        head: Vec<u8>,
        framing: Framing,
        is_chunked: bool,
        chunk_limits: ChunkLimits,
        may_splice: bool,
    ) -> Self {
        let source = match framing {
            Framing::None | Framing::Length(0) => ResponseSource::Done,
            Framing::Length(length) => ResponseSource::Length(length),
            Framing::Chunked => ResponseSource::Chunked(Box::new(ChunkedDecoder::new(chunk_limits))),
            Framing::UntilClose => ResponseSource::UntilClose,
        };
        Self {
            source,
            is_chunked,
            framing: head,
            framing_written: 0,
            slice: 0,
            owes_crlf: false,
            is_slow: false,
            splice: None,
            may_splice,
            turn: Turn::default(),
            written: 0,
            trailers: None,
        }
    }

    /// Goes on until everything is written (`Ready(Ok)`) or a peer must be waited for.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        client: &mut Peer,
        waits_for_client: &mut bool,
    ) -> Poll<Result<(), RelayBroken>> {
        loop {
            // first the slice, so that head and body, or size and chunk, leave in one call
            if self.slice == 0 && !matches!(self.source, ResponseSource::Done) && !server.unread().is_empty()
            {
                self.frame(server)?;
            }
            if self.slice > 0 || self.framing_written < self.framing.len() {
                *waits_for_client = true;
                ready!(self.poll_write(context, server, client))?;
                continue;
            }
            *waits_for_client = false;
            match &mut self.source {
                ResponseSource::Done => return Poll::Ready(Ok(())),
                ResponseSource::Length(left)
                    if self.may_splice
                        && server.unread().is_empty()
                        && (*left >= SPLICE_FROM_BYTES || self.splice.is_some()) =>
                {
                    let splice = self.splice.get_or_insert_with(Splice::default);
                    ready!(splice.poll(context, left, server, client, &mut self.written, waits_for_client))?;
                    self.source = ResponseSource::Done;
                }
                _ => ready!(self.poll_read_more(context, server))?,
            }
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        client: &mut Peer,
    ) -> Poll<Result<(), RelayBroken>> {
        while self.slice > 0 || self.framing_written < self.framing.len() {
            let framing = &self.framing[self.framing_written..];
            let n = match client
                .stream
                .poll_write(context, framing, &server.unread()[..self.slice])
            {
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(RelayBroken::Client(Broken::Io(error)))),
                Poll::Pending => {
                    self.is_slow = true;
                    server.settle();
                    return Poll::Pending;
                }
            };
            let of_framing = n.min(framing.len());
            self.framing_written += of_framing;
            self.slice -= n - of_framing;
            self.written += n as u64;
            server.consume(n - of_framing);
        }
        self.framing.clear();
        self.framing_written = 0;
        Poll::Ready(Ok(()))
    }

    /// Decides what of the unread bytes goes out next; nothing if more must be read first.
    fn frame(&mut self, server: &mut Peer) -> Result<(), RelayBroken> {
        let slice = match &mut self.source {
            ResponseSource::Done => return Ok(()),
            ResponseSource::Length(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(server.unread().len());
                *left -= now as u64;
                if *left == 0 {
                    self.source = ResponseSource::Done;
                }
                // the head, if it is still here: right before the body it needs no slice of its own
                let is_head_here = !self.framing.is_empty() && self.framing_written == 0 && !self.is_chunked;
                if is_head_here && server.prepend(&self.framing) {
                    let head = self.framing.len();
                    self.framing.clear();
                    now + head
                } else {
                    now
                }
            }
            ResponseSource::UntilClose => server.unread().len(),
            ResponseSource::Chunked(decoder) => {
                if self.written == 0 && self.framing_written == 0 {
                    judge(decoder, server.unread()).map_err(RelayBroken::Framing)?;
                }
                match decoder.step(server.unread()).map_err(RelayBroken::Framing)? {
                    ChunkStep::NeedMore { consumed } => {
                        server.consume(consumed);
                        return Ok(());
                    }
                    ChunkStep::Data { consumed_before, len } => {
                        server.consume(consumed_before);
                        len
                    }
                    ChunkStep::End { consumed } => {
                        server.consume(consumed);
                        let trailers = decoder.take_trailers();
                        self.source = ResponseSource::Done;
                        self.finish(trailers.as_ref());
                        self.trailers = trailers;
                        return Ok(());
                    }
                }
            }
        };
        self.slice = slice;
        if self.is_chunked {
            self.pay_crlf();
            write_chunk_size(slice, &mut self.framing);
            self.owes_crlf = true;
        }
        Ok(())
    }

    fn pay_crlf(&mut self) {
        if std::mem::take(&mut self.owes_crlf) {
            self.framing.extend_from_slice(CRLF);
        }
    }

    fn finish(&mut self, trailers: Option<&Head>) {
        if self.is_chunked {
            self.pay_crlf();
            write_last_chunk(trailers, &mut self.framing);
        }
    }

    fn poll_read_more(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
    ) -> Poll<Result<(), RelayBroken>> {
        let limit = if self.is_slow {
            SLOW_READ_BYTES
        } else {
            BUFFER_BYTES
        };
        Poll::Ready(
            match ready!(server.poll_fill_in_turn(context, limit, &mut self.turn)) {
                Err(error) => Err(RelayBroken::Server(Broken::Io(error))),
                Ok(0) if matches!(self.source, ResponseSource::UntilClose) => {
                    self.source = ResponseSource::Done;
                    self.finish(None);
                    Ok(())
                }
                Ok(0) => Err(RelayBroken::Server(Broken::Closed)),
                Ok(_) => Ok(()),
            },
        )
    }
}
