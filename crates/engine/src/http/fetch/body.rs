//! The body of a fetched response, read on demand.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use headgate_wire::{ChunkStep, ChunkedDecoder, Framing};

use super::attempt::{aborted, FetchHead};
use super::error::FetchError;
use super::upload::{Upload, UploadBroken};
use super::{Call, FetchPermit};
use crate::failure::FailureKind;
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::BUFFER_BYTES;
use headgate_shared::metrics::Counter;
use headgate_upstream::{Lease, Pooled, Upstream};

/// A body that is announced larger than this grows its buffer as it comes.
const TRUSTED_LENGTH: u64 = 1 << 20;

/// See the module. Dropping it before its end closes the connection.
pub struct FetchedBody {
    /// What came with the head.
    here: Vec<u8>,
    rest: Option<Box<Reader>>,
}

enum FetchSource {
    Done,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
}

struct Reader {
    source: FetchSource,
    server: Box<Pooled>,
    home: Option<(Rc<Upstream>, usize)>,
    keeps: bool,
    upload: Option<Upload>,
    watch: Rc<Watched>,
    timeout_ms: u64,
    shared: Rc<Shared>,
    _lease: Option<Lease>,
    _permit: FetchPermit,
}

impl FetchedBody {
    pub(super) fn new(
        call: &Call<'_>,
        served: &mut FetchHead,
        upload: Option<Upload>,
        permit: FetchPermit,
    ) -> Result<Self, FetchError> {
        let connection = served
            .server
            .take()
            .expect("an attempt that served has its connection");
        let source = match served.head.framing {
            Framing::None | Framing::Length(0) => FetchSource::Done,
            Framing::Length(length) => FetchSource::Length(length),
            Framing::Chunked => FetchSource::Chunked(Box::new(ChunkedDecoder::new(call.chunk_limits))),
            Framing::UntilClose => FetchSource::UntilClose,
        };
        let mut reader = Box::new(Reader {
            source,
            server: connection,
            home: served.home.take(),
            keeps: served.head.persistent && !served.upload_closed,
            upload: upload.filter(|_| !served.upload_closed),
            watch: call.watch.clone(),
            timeout_ms: call.timeout_ms,
            shared: call.shared.clone(),
            _lease: served.lease.take(),
            _permit: permit,
        });
        let mut here = Vec::new();
        let decoded = reader.decode(&mut here);
        decoded.inspect_err(|error| reader.log(error))?;
        let rest = if reader.is_done() {
            reader.finish();
            None
        } else {
            reader.watch.disarm();
            Some(reader)
        };
        Ok(Self { here, rest })
    }

    /// The whole body if it has come already.
    pub fn take_here(&mut self) -> Option<Vec<u8>> {
        self.rest.is_none().then(|| std::mem::take(&mut self.here))
    }

    /// The next bytes, never none; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        let mut piece = std::mem::take(&mut self.here);
        if piece.is_empty() {
            let Some(reader) = &mut self.rest else {
                return Ok(None);
            };
            reader.read(&mut piece).await?;
            if reader.is_done() {
                if let Some(reader) = self.rest.take() {
                    reader.finish();
                }
            }
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// All of it, if that is at most `max_bytes`.
    pub async fn collect(&mut self, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
        let mut whole = std::mem::take(&mut self.here);
        if let Some(reader) = &self.rest {
            if let FetchSource::Length(left) = reader.source {
                let announced = left.saturating_add(whole.len() as u64);
                if announced > max_bytes as u64 {
                    return Err(FetchError::too_large(max_bytes));
                }
                whole.reserve(usize::try_from(left.min(TRUSTED_LENGTH)).unwrap_or(0));
            }
        }
        while let Some(reader) = &mut self.rest {
            if whole.len() > max_bytes {
                return Err(FetchError::too_large(max_bytes));
            }
            reader.read(&mut whole).await?;
            if reader.is_done() {
                if let Some(reader) = self.rest.take() {
                    reader.finish();
                }
            }
        }
        if whole.len() > max_bytes {
            return Err(FetchError::too_large(max_bytes));
        }
        Ok(whole)
    }
}

impl Reader {
    fn log(&self, error: &FetchError) {
        if let (Some((upstream, server)), Some(failure)) = (&self.home, &error.of_server) {
            upstream.log_failure(*server, &failure.to_log(), self.shared.clock.now_us());
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.source, FetchSource::Done)
    }

    /// Waits until there are more bytes in `out`, or the body has ended.
    async fn read(&mut self, out: &mut Vec<u8>) -> Result<(), FetchError> {
        self.shared.clock.tick();
        self.watch.arm(Limit::Fetch, self.timeout_ms);
        let read = poll_fn(|context| self.poll(context, out)).await;
        self.watch.disarm();
        read.inspect_err(|error| self.log(error))
    }

    fn poll(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<(), FetchError>> {
        let before = out.len();
        self.pump(context)?;
        loop {
            self.decode(out)?;
            if out.len() > before || self.is_done() {
                return Poll::Ready(Ok(()));
            }
            match self.server.peer.poll_fill(context, BUFFER_BYTES) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(Ok(_)) if matches!(self.source, FetchSource::UntilClose) => {
                    self.source = FetchSource::Done;
                }
                Poll::Ready(filled) => {
                    return Poll::Ready(Err(FetchError::server(
                        FailureKind::UpstreamTruncated,
                        filled.err().as_ref(),
                    )));
                }
                Poll::Pending => break,
            }
        }
        if self.watch.expired().is_some() {
            self.shared.metrics.count(Counter::TimeoutFetch);
            return Poll::Ready(Err(FetchError::late(self.timeout_ms)));
        }
        self.watch.register(context);
        Poll::Pending
    }

    /// The rest of the request, beside its response.
    fn pump(&mut self, context: &mut Context<'_>) -> Result<(), FetchError> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let mut moved = false;
        let polled = upload.poll(context, &mut self.server.peer.stream, &mut moved);
        if moved {
            self.watch.arm(Limit::Fetch, self.timeout_ms);
        }
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(UploadBroken::Server)) => {
                self.upload = None;
                self.keeps = false;
            }
            Poll::Ready(Err(UploadBroken::Aborted)) => return Err(aborted()),
        }
        Ok(())
    }

    /// Moves what is unread of the body to `out`.
    fn decode(&mut self, out: &mut Vec<u8>) -> Result<(), FetchError> {
        let peer = &mut self.server.peer;
        while !peer.unread().is_empty() {
            match &mut self.source {
                FetchSource::Done => return Ok(()),
                FetchSource::Length(left) => {
                    let now = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(peer.unread().len());
                    out.extend_from_slice(&peer.unread()[..now]);
                    peer.consume(now);
                    *left -= now as u64;
                    if *left == 0 {
                        self.source = FetchSource::Done;
                    }
                }
                FetchSource::UntilClose => {
                    let all = peer.unread().len();
                    out.extend_from_slice(peer.unread());
                    peer.consume(all);
                }
                FetchSource::Chunked(decoder) => match decoder.step(peer.unread()) {
                    Ok(ChunkStep::NeedMore { consumed }) => peer.consume(consumed),
                    Ok(ChunkStep::Data { consumed_before, len }) => {
                        out.extend_from_slice(&peer.unread()[consumed_before..consumed_before + len]);
                        peer.consume(consumed_before + len);
                    }
                    Ok(ChunkStep::End { consumed }) => {
                        peer.consume(consumed);
                        self.source = FetchSource::Done;
                    }
                    Err(error) => {
                        self.shared.metrics.count(Counter::BadResponses);
                        return Err(FetchError::malformed(
                            FailureKind::BadChunk,
                            "the server's body has malformed framing",
                            &error,
                        ));
                    }
                },
            }
        }
        Ok(())
    }

    /// Puts the connection back into its pool, if it is fit for another request.
    fn finish(mut self) {
        let Some((upstream, index)) = self.home.take() else {
            return;
        };
        let keepalive = &upstream.keepalive;
        let is_worn = keepalive.max_requests > 0 && self.server.served >= keepalive.max_requests;
        let is_worn = is_worn || self.server.is_bound;
        if !self.keeps || is_worn || self.upload.is_some() || !self.server.peer.unread().is_empty() {
            return;
        }
        self.server.since_ms = self.shared.clock.now_ms();
        upstream.servers[index].pool.give(self.server, keepalive.max_idle);
    }
}
