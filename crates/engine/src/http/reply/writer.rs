//! The body of a response on its way to the client.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::task::Poll;

use headgate_wire::{write_chunk_size, write_last_chunk, CRLF};

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::hooks::{BodyFailed, BodySource};
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::phases::poll_client;
use crate::state::connection::Connection;
use headgate_net::peer::Broken;
use headgate_net::turns::Turn;
use headgate_upstream::LimitCounter;

/// What is read of a file at once.
const FILE_READ_BYTES: usize = 64 * 1024;

pub(super) struct Writer<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) exchange: &'a Exchange,
    /// The response's, which counts as sent with its first byte.
    pub(super) status: u16,
    pub(super) send_ms: u64,
}

impl Writer<'_> {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.exchange.status.replace(self.status) == 0 {
            self.exchange.timings.responded_us.set(self.exchange.now_us());
        }
        let sent = self
            .connection
            .peer
            .write_all(&self.connection.watch, bytes, self.send_ms)
            .await;
        self.exchange
            .response_bytes
            .set(self.exchange.response_bytes.get() + bytes.len() as u64);
        sent.map_err(|broken| match broken {
            Broken::Limit(limit) => {
                self.connection.shared.metrics.count(limit.counter());
                self.exchange.limit.set(limit.name());
                Failure::new(
                    FailureKind::ClientSendTimeout,
                    "the client took too long to read the response",
                )
            }
            Broken::Closed | Broken::Io(_) => Failure::client_disconnected(),
        })
    }

    pub(super) async fn write_file(
        &mut self,
        mut out: Vec<u8>,
        file: &File,
        mut at: u64,
        mut left: u64,
    ) -> Result<(), Failure> {
        let cut = |_| Failure::from(FailureKind::FileTruncated);
        let mut turn = Turn::default();
        while left > 0 {
            poll_fn(|context| self.connection.peer.turns().poll(context, &mut turn)).await;
            let begin = out.len();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_READ_BYTES);
            out.resize(begin + most, 0);
            let n = file.read_at(&mut out[begin..], at).map_err(cut)?;
            if n == 0 {
                return Err(Failure::from(FailureKind::FileTruncated));
            }
            out.truncate(begin + n);
            at += n as u64;
            left -= n as u64;
            self.write(&out).await?;
            out.clear();
        }
        if out.is_empty() {
            Ok(())
        } else {
            self.write(&out).await
        }
    }

    pub(super) async fn write_stream(
        &mut self,
        mut out: Vec<u8>,
        source: &mut dyn BodySource,
        is_chunked: bool,
        mut waiting: ReaderWait<'_>,
    ) -> Result<(), Failure> {
        loop {
            if !out.is_empty() {
                self.write(&out).await?;
                out.clear();
            }
            match waiting.next(source, self.connection, self.exchange).await? {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) if is_chunked => {
                    write_chunk_size(piece.len(), &mut out);
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(CRLF);
                }
                Some(Ok(piece)) => out = piece,
                Some(Err(_)) => return Err(Failure::from(FailureKind::HookBodyFailed)),
                None => break,
            }
        }
        if is_chunked {
            write_last_chunk(self.exchange.rare().response_trailers.borrow().as_ref(), &mut out);
            self.write(&out).await?;
        }
        Ok(())
    }
}

/// Waits for the pieces of a streamed response, and notices meanwhile what the client does.
pub(super) struct ReaderWait<'a> {
    /// The request's body, while the hook may read it.
    readable: Option<&'a mut RequestBody>,
    disconnect: DisconnectWatcher,
}

impl<'a> ReaderWait<'a> {
    pub(super) fn new(readable: Option<&'a mut RequestBody>, allow_half_close: bool) -> Self {
        let disconnect = DisconnectWatcher::new(allow_half_close);
        Self { readable, disconnect }
    }

    async fn next(
        &mut self,
        source: &mut dyn BodySource,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Result<Option<Result<Vec<u8>, BodyFailed>>, Failure> {
        let mut next = source.next();
        poll_fn(|context| {
            if let Poll::Ready(piece) = next.as_mut().poll(context) {
                return Poll::Ready(Ok(piece));
            }
            let (body, disconnect) = (self.readable.as_deref_mut(), &mut self.disconnect);
            poll_client(context, connection, exchange, body, disconnect).map(Err)
        })
        .await
    }
}
