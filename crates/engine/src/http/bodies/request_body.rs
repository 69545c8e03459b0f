//! The request's body on its way from the client to a server, framed anew.
//!
//! # How it works
//! What is already here when the head is sent goes out with it, as a copy that can be sent again
//! ([`RequestBody::take_available`]) or from where it is ([`RequestBody::offer_available`]); the rest is pumped while
//! the engine already waits for the response, because a server may respond early. Payload is written straight from the
//! client's buffer; only the framing around it is built.

use std::rc::Rc;
use std::task::{Context, Poll};

use headgate_wire::{
    write_chunk_size, write_last_chunk, ChunkError, ChunkStep, ChunkedDecoder, Framing, Head, CRLF,
};

use crate::failure::Failure;
use crate::hooks::Hooks;
use crate::http::bodies::made::Made;
use crate::http::bodies::piece::Flow;
use crate::tables::client_fields::ClientFields;
use crate::tables::Tables;
use headgate_net::peer::{Broken, Peer, BUFFER_BYTES};
use headgate_net::turns::Turn;

enum RequestSource {
    Done,
    Length(u64),
    Chunked(Box<ClientChunks>),
}

struct ClientChunks {
    decoder: ChunkedDecoder,
    /// Which trailers go no further.
    fields: Rc<ClientFields>,
}

/// See the module.
pub(crate) struct RequestBody {
    source: RequestSource,
    /// Framing to write before the slice, and how much of it is written.
    framing: Vec<u8>,
    framing_written: usize,
    /// So many bytes of the client's unread ones go out next.
    slice: usize,
    /// A chunk's data was begun, its CRLF is still to come.
    owes_crlf: bool,
    /// What may still come.
    allowance: u64,
    /// Bytes of payload so far.
    pub(crate) received: u64,
    /// Its framing was wrong, or it is too large: where it ends is not known, and nothing after it can be trusted.
    is_broken: bool,
    /// Bytes went out that cannot be sent again.
    pub(crate) is_committed: bool,
    /// The trailers, after the end.
    pub(crate) trailers: Option<Head>,
    /// What goes to the server instead, where hooks change the body.
    pub(crate) made: Option<Box<Made>>,
    turn: Turn,
}

/// Why a body cannot go on.
#[derive(Debug)]
pub(crate) enum BodyBroken {
    Client(Broken),
    Server,
    Framing(ChunkError),
    TooLarge,
    /// What hooks do with it failed.
    Failed(Box<Failure>),
}

/// On whom a pending pump waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Client,
    Server,
    /// A hook, whose own deadline ends that.
    Hook,
}

impl RequestBody {
    /// `max_bytes` bounds the payload.
    pub(crate) fn new(framing: Framing, max_bytes: u64, tables: &Tables) -> Result<Self, BodyBroken> {
        let source = match framing {
            Framing::None | Framing::Length(0) | Framing::UntilClose => RequestSource::Done,
            Framing::Length(length) if length > max_bytes => return Err(BodyBroken::TooLarge),
            Framing::Length(length) => RequestSource::Length(length),
            Framing::Chunked => RequestSource::Chunked(Box::new(ClientChunks {
                decoder: ChunkedDecoder::new(tables.chunk_limits()),
                fields: Rc::clone(&tables.client_fields),
            })),
        };
        Ok(Self {
            source,
            framing: Vec::new(),
            framing_written: 0,
            slice: 0,
            owes_crlf: false,
            allowance: max_bytes,
            received: 0,
            is_broken: false,
            is_committed: false,
            trailers: None,
            made: None,
            turn: Turn::default(),
        })
    }

    /// Nothing more goes to the server.
    pub(crate) fn is_done(&self) -> bool {
        self.made
            .as_ref()
            .map_or_else(|| self.is_read(), |made| made.is_done())
    }

    /// The client's connection stands behind the body, and nothing more goes to the server.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_read() && self.is_done()
    }

    /// All was read from the client, and written if it is sent on as it is.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.source, RequestSource::Done)
            && !self.is_broken
            && self.slice == 0
            && self.framing_written == self.framing.len()
    }

    /// All of it is here, as far as that is known without looking into it.
    pub(crate) fn is_here(&self, client: &Peer) -> bool {
        match self.source {
            RequestSource::Done => true,
            RequestSource::Length(left) => client.unread().len() as u64 >= left,
            RequestSource::Chunked(_) => false,
        }
    }

    /// Moves the part of the body that is already here behind the head in `out`.
    pub(crate) fn take_available(&mut self, client: &mut Peer, out: &mut Vec<u8>) -> Result<(), BodyBroken> {
        while !self.is_read() && !client.unread().is_empty() {
            if self.slice == 0 && !self.prepare(client)? {
                break;
            }
            out.extend_from_slice(&self.framing);
            self.framing.clear();
            out.extend_from_slice(&client.unread()[..self.slice]);
            client.consume(self.slice);
            self.slice = 0;
        }
        Ok(())
    }

    /// Whether it goes out as it comes: with a length, and not in chunks.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.source, RequestSource::Length(_))
    }

    /// Finds the part of a plain body that is already here and leaves it where it is, to go out behind the head without a
    /// copy.
    pub(crate) fn offer_available(&mut self, client: &mut Peer) -> Result<(), BodyBroken> {
        if client.unread().is_empty() {
            return Ok(());
        }
        self.prepare(client).map(drop)
    }

    /// How many of the client's unread bytes go out with the head; they cannot be sent again.
    pub(crate) fn take_offered(&mut self) -> usize {
        let offered = std::mem::take(&mut self.slice);
        self.is_committed |= offered > 0;
        offered
    }

    /// Reads and drops what is already here; for responses that do not need the body.
    pub(crate) fn discard_available(&mut self, client: &mut Peer) -> Result<(), BodyBroken> {
        let mut nowhere = Vec::new();
        self.take_available(client, &mut nowhere)
    }

    /// Decides what of the unread bytes goes out next. False: more must be read first.
    fn prepare(&mut self, client: &mut Peer) -> Result<bool, BodyBroken> {
        let prepared = if self.is_broken {
            Err(BodyBroken::Client(Broken::Closed))
        } else {
            self.frame(client)
        };
        self.is_broken |= prepared.is_err();
        prepared
    }

    fn frame(&mut self, client: &mut Peer) -> Result<bool, BodyBroken> {
        match &mut self.source {
            RequestSource::Done => Ok(true),
            RequestSource::Length(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(client.unread().len());
                *left -= now as u64;
                self.slice = now;
                self.received += now as u64;
                if *left == 0 {
                    self.source = RequestSource::Done;
                }
                Ok(now > 0)
            }
            RequestSource::Chunked(chunks) => {
                match chunks
                    .decoder
                    .step(client.unread())
                    .map_err(BodyBroken::Framing)?
                {
                    ChunkStep::NeedMore { consumed } => {
                        client.consume(consumed);
                        Ok(false)
                    }
                    ChunkStep::Data { consumed_before, len } => {
                        client.consume(consumed_before);
                        if len as u64 > self.allowance {
                            return Err(BodyBroken::TooLarge);
                        }
                        self.allowance -= len as u64;
                        self.received += len as u64;
                        self.start_framing();
                        write_chunk_size(len, &mut self.framing);
                        self.owes_crlf = true;
                        self.slice = len;
                        Ok(true)
                    }
                    ChunkStep::End { consumed } => {
                        client.consume(consumed);
                        let mut trailers = chunks.decoder.take_trailers();
                        if let Some(trailers) = &mut trailers {
                            chunks.fields.strip_trailers(trailers);
                        }
                        self.start_framing();
                        write_last_chunk(trailers.as_ref(), &mut self.framing);
                        self.trailers = trailers;
                        self.source = RequestSource::Done;
                        Ok(true)
                    }
                }
            }
        }
    }

    /// The next piece of the payload, for whoever does not send it on as it is.
    pub(crate) fn poll_flow(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Peer,
        hooks: &dyn Hooks,
    ) -> Poll<Result<Flow, BodyBroken>> {
        loop {
            if self.slice > 0 {
                let chunk = hooks.piece(&client.unread()[..self.slice]);
                client.consume(std::mem::take(&mut self.slice));
                // the end often came along
                if !client.unread().is_empty() {
                    self.prepare(client)?;
                    self.drop_framing();
                }
                return Poll::Ready(Ok(Flow::of(chunk, self.is_read())));
            }
            if self.is_read() {
                return Poll::Ready(Ok(Flow::end()));
            }
            if !client.unread().is_empty() {
                let is_found = self.prepare(client)?;
                self.drop_framing();
                if is_found {
                    continue;
                }
            }
            match client.poll_fill(context, BUFFER_BYTES) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(BodyBroken::Client(Broken::Closed))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyBroken::Client(Broken::Io(error)))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn drop_framing(&mut self) {
        self.framing.clear();
        self.owes_crlf = false;
    }

    fn start_framing(&mut self) {
        self.framing.clear();
        self.framing_written = 0;
        if std::mem::take(&mut self.owes_crlf) {
            self.framing.extend_from_slice(CRLF);
        }
    }

    /// What hooks make of the body is sent from its start: for another attempt.
    pub(crate) fn restart(&mut self) {
        if let Some(made) = &mut self.made {
            made.restart();
        }
    }

    /// Pumps until the body is done (`Ready`) or a peer must be waited for.
    pub(crate) fn poll_pump(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Peer,
        server: &mut Peer,
        moved: &mut bool,
        waits: &mut Waits,
    ) -> Poll<Result<(), BodyBroken>> {
        if let Some(mut made) = self.made.take() {
            let pumped = made.poll_pump(context, self, client, server, moved, waits);
            self.made = Some(made);
            return pumped;
        }
        loop {
            while self.slice > 0 || self.framing_written < self.framing.len() {
                let framing = &self.framing[self.framing_written..];
                let n = match server
                    .stream
                    .poll_write(context, framing, &client.unread()[..self.slice])
                {
                    Poll::Ready(Ok(n)) => n,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(BodyBroken::Server)),
                    Poll::Pending => {
                        *waits = Waits::Server;
                        client.settle();
                        return Poll::Pending;
                    }
                };
                *moved = true;
                self.is_committed = true;
                let of_framing = n.min(framing.len());
                self.framing_written += of_framing;
                self.slice -= n - of_framing;
                client.consume(n - of_framing);
            }
            if self.is_read() {
                return Poll::Ready(Ok(()));
            }
            if !client.unread().is_empty() && self.prepare(client)? {
                continue;
            }
            match client.poll_fill_in_turn(context, BUFFER_BYTES, &mut self.turn) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(BodyBroken::Client(Broken::Closed))),
                Poll::Ready(Ok(_)) => *moved = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyBroken::Client(Broken::Io(error)))),
                Poll::Pending => {
                    *waits = Waits::Client;
                    return Poll::Pending;
                }
            }
        }
    }
}
