//! One attempt of a fetch: a connection, the request on it, and the head of the response.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use headgate_wire::{parse_response, Parsed, ResponseHead};

use super::error::{FetchError, FetchErrorKind};
use super::upload::{Upload, UploadBroken};
use super::Call;
use crate::failure::FailureKind;
use crate::hooks::connection::ClientInfo;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_shared::metrics::Counter;
use headgate_upstream::{DialOptions, Lease, Pooled, Upstream};

/// Interim responses before the final one; RFC 9110 section 15.2 sets no bound.
const MAX_INTERIM: u32 = 16;

/// A response's head, and the connection that the rest of it comes from.
pub(super) struct FetchHead {
    pub(super) head: ResponseHead,
    pub(super) server: Option<Box<Pooled>>,
    /// The pool it may go back to.
    pub(super) home: Option<(Rc<Upstream>, usize)>,
    pub(super) lease: Option<Lease>,
    /// The server takes no more of the request's body.
    pub(super) upload_closed: bool,
}

/// Runs one attempt. A pooled connection that turns out to be closed, or to hold what is not a response, is replaced by a fresh
/// one where that is safe.
pub(super) async fn run(
    call: &Call<'_>,
    upstream: &Rc<Upstream>,
    server: usize,
    head_bytes: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<FetchHead, FetchError> {
    let home = Some((upstream.clone(), server));
    if let Some(mut pooled) = upstream.servers[server].pool.take() {
        call.shared.metrics.count(Counter::UpstreamReuses);
        pooled.served += 1;
        match exchange(call, pooled, home.clone(), head_bytes, whole, upload).await {
            Err(error)
                if error.retry().on_fresh_connection(true, call.is_idempotent)
                    && !upload.as_ref().is_some_and(|upload| upload.has_begun) => {}
            Ok(found)
                if found.head.ends_an_idle_connection()
                    && call.is_idempotent
                    && !upload.as_ref().is_some_and(|upload| upload.has_begun) => {}
            other => return other,
        }
    }
    let options = DialOptions {
        watch: &call.watch,
        connect_ms: call.connect_ms,
        send_ms: call.connect_ms,
        tls_ms: call.shared.tables().timeouts.tls_handshake,
        client: &ClientInfo::default(),
    };
    let dialed = call.shared.dialer().dial(upstream, server, &options).await;
    let peer =
        dialed.map_err(|failed| FetchError::dial(&upstream.servers[server].name, &failed, &options))?;
    let mut fresh = Pooled::new(peer, 1);
    fresh.end_ms = upstream.keepalive.end_ms(call.shared.clock.now_ms());
    exchange(call, fresh, home, head_bytes, whole, upload).await
}

/// Runs the only attempt that there is on a stream without a pool.
pub(super) async fn on_stream(
    call: &Call<'_>,
    server: Box<Pooled>,
    head_bytes: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<FetchHead, FetchError> {
    exchange(call, server, None, head_bytes, whole, upload).await
}

async fn exchange(
    call: &Call<'_>,
    mut server: Box<Pooled>,
    home: Option<(Rc<Upstream>, usize)>,
    head_bytes: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<FetchHead, FetchError> {
    call.clock().tick();
    call.arm();
    let mut in_flight = FetchInFlight {
        call,
        head_bytes,
        whole: whole.unwrap_or_default(),
        upload_closed: false,
        interim: 0,
        is_sound: true,
    };
    let head = poll_fn(|context| in_flight.poll(context, &mut server.peer, upload)).await?;
    let upload_closed = in_flight.upload_closed || !in_flight.is_sent();
    Ok(FetchHead {
        head,
        server: Some(server),
        home,
        lease: None,
        upload_closed,
    })
}

/// The request on its way, and the wait for the response's head beside it: a server may respond early.
struct FetchInFlight<'a> {
    call: &'a Call<'a>,
    head_bytes: &'a [u8],
    whole: &'a [u8],
    upload_closed: bool,
    interim: u32,
    is_sound: bool,
}

impl FetchInFlight<'_> {
    fn is_sent(&self) -> bool {
        self.head_bytes.is_empty() && self.whole.is_empty()
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        upload: &mut Option<Upload>,
    ) -> Poll<Result<ResponseHead, FetchError>> {
        self.send(context, server, upload)?;
        loop {
            if !server.unread().is_empty() {
                if let Some(head) = self.parse(server)? {
                    return Poll::Ready(Ok(head));
                }
            }
            match server.poll_fill(context, BUFFER_BYTES) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(filled) => {
                    return Poll::Ready(Err(FetchError::server(
                        FailureKind::UpstreamReset,
                        filled.err().as_ref(),
                    )));
                }
                Poll::Pending => break,
            }
        }
        if self.call.watch.expired().is_some() {
            return Poll::Ready(Err(FetchError::late(self.call.timeout_ms)));
        }
        self.call.watch.register(context);
        Poll::Pending
    }

    /// Sends what can be sent now. A server that takes no more may have responded already: that is read then.
    fn send(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        upload: &mut Option<Upload>,
    ) -> Result<(), FetchError> {
        let mut moved = false;
        while !self.upload_closed && !self.is_sent() {
            match server.stream.poll_write(context, self.head_bytes, self.whole) {
                Poll::Ready(Ok(n)) => {
                    let of_head = n.min(self.head_bytes.len());
                    self.head_bytes = &self.head_bytes[of_head..];
                    self.whole = &self.whole[n - of_head..];
                    moved = true;
                }
                Poll::Ready(Err(_)) => self.upload_closed = true,
                Poll::Pending => break,
            }
        }
        if self.is_sent() && !self.upload_closed {
            if let Some(going) = upload {
                match going.poll(context, &mut server.stream, &mut moved) {
                    Poll::Ready(Ok(())) => *upload = None,
                    Poll::Ready(Err(UploadBroken::Server)) => self.upload_closed = true,
                    Poll::Ready(Err(UploadBroken::Aborted)) => return Err(aborted()),
                    Poll::Pending => {}
                }
            }
        }
        if moved {
            self.call.arm();
        }
        Ok(())
    }

    fn parse(&mut self, server: &mut Peer) -> Result<Option<ResponseHead>, FetchError> {
        match parse_response(server.unread(), self.call.head_limits, self.call.is_head) {
            Ok(Parsed::Partial) => Ok(None),
            Ok(Parsed::Complete { mut head, len }) => {
                server.consume(len);
                // an interim response that announces content makes what follows it doubtful
                self.is_sound &= head.persistent;
                head.persistent = self.is_sound;
                if head.status == 101 {
                    return Err(FetchError::server(FailureKind::UnexpectedUpgrade, None));
                }
                if head.status >= 200 {
                    return Ok(Some(head));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(FetchError::server(FailureKind::TooManyInterimResponses, None));
                }
                if server.unread().is_empty() {
                    return Ok(None);
                }
                self.parse(server)
            }
            Err(error) => {
                self.call.shared.metrics.count(Counter::BadResponses);
                Err(FetchError::malformed(
                    FailureKind::MalformedResponse(error),
                    "the server's response is refused",
                    &error,
                ))
            }
        }
    }
}

/// The failure of an upload whose maker gave up.
pub(super) fn aborted() -> FetchError {
    FetchError::new(FetchErrorKind::Aborted, "the request's body ended prematurely")
}
