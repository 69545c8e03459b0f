//! One attempt of a fetch: a connection, the request on it, and the head of the response.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use headgate_wire::{parse_response, Parsed, ResponseHead};

use super::error::{FetchError, FetchErrorKind};
use super::upload::{Upload, UploadBroken};
use super::Call;
use crate::hooks::connection::ClientInfo;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_shared::metrics::Counter;
use headgate_upstream::{Lease, Pooled, Terms, Upstream};

/// Interim responses before the final one; RFC 9110 section 15.2 sets no bound.
const MAX_INTERIM: u32 = 16;

/// A response's head, and the connection that the rest of it comes from.
pub(super) struct Served {
    pub(super) head: ResponseHead,
    pub(super) server: Option<Box<Pooled>>,
    /// The pool it may go back to.
    pub(super) home: Option<(Rc<Upstream>, usize)>,
    pub(super) lease: Option<Lease>,
    /// The server takes no more of the request's body.
    pub(super) is_deaf: bool,
}

/// Runs one attempt. A pooled connection that turns out to be closed, or to hold what is no response, is replaced by a fresh
/// one where that is safe.
pub(super) async fn run(
    call: &Call<'_>,
    upstream: &Rc<Upstream>,
    server: usize,
    opening: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<Served, FetchError> {
    let home = Some((upstream.clone(), server));
    if let Some(mut pooled) = upstream.servers[server].pool.take() {
        call.shared.metrics.count(Counter::UpstreamReuses);
        pooled.served += 1;
        match exchange(call, pooled, home.clone(), opening, whole, upload).await {
            Err(error)
                if error.retry().on_fresh_connection(true, call.is_idempotent)
                    && !upload.as_ref().is_some_and(|upload| upload.has_begun) => {}
            other => return other,
        }
    }
    let terms = Terms {
        watch: &call.watch,
        connect_ms: call.connect_ms,
        send_ms: call.connect_ms,
        tls_ms: call.shared.tables().timeouts.tls_handshake,
        client: &ClientInfo::default(),
    };
    let dialed = call.shared.dialer().dial(upstream, server, &terms).await;
    let peer = dialed.map_err(|failed| FetchError::dial(&upstream.servers[server].name, &failed, &terms))?;
    let fresh = Pooled::new(peer, 1);
    exchange(call, fresh, home, opening, whole, upload).await
}

/// Runs the only attempt that there is on a stream without a pool.
pub(super) async fn on_stream(
    call: &Call<'_>,
    server: Box<Pooled>,
    opening: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<Served, FetchError> {
    exchange(call, server, None, opening, whole, upload).await
}

async fn exchange(
    call: &Call<'_>,
    mut server: Box<Pooled>,
    home: Option<(Rc<Upstream>, usize)>,
    opening: &[u8],
    whole: Option<&[u8]>,
    upload: &mut Option<Upload>,
) -> Result<Served, FetchError> {
    call.clock().tick();
    call.arm();
    let mut waiting = Waiting {
        call,
        opening,
        whole: whole.unwrap_or_default(),
        is_deaf: false,
        interim: 0,
        is_sound: true,
    };
    let head = poll_fn(|context| waiting.poll(context, &mut server.peer, upload)).await?;
    let is_deaf = waiting.is_deaf || !waiting.is_sent();
    Ok(Served {
        head,
        server: Some(server),
        home,
        lease: None,
        is_deaf,
    })
}

/// The request on its way, and the wait for the response's head beside it: a server may respond early.
struct Waiting<'a> {
    call: &'a Call<'a>,
    opening: &'a [u8],
    whole: &'a [u8],
    is_deaf: bool,
    interim: u32,
    is_sound: bool,
}

impl Waiting<'_> {
    fn is_sent(&self) -> bool {
        self.opening.is_empty() && self.whole.is_empty()
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
                Poll::Ready(_) => {
                    let message = "the server closed the connection before it responded";
                    return Poll::Ready(Err(FetchError::new(FetchErrorKind::Closed, message)));
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
        while !self.is_deaf && !self.is_sent() {
            match server.stream.poll_write(context, self.opening, self.whole) {
                Poll::Ready(Ok(n)) => {
                    let of_opening = n.min(self.opening.len());
                    self.opening = &self.opening[of_opening..];
                    self.whole = &self.whole[n - of_opening..];
                    moved = true;
                }
                Poll::Ready(Err(_)) => self.is_deaf = true,
                Poll::Pending => break,
            }
        }
        if self.is_sent() && !self.is_deaf {
            if let Some(going) = upload {
                match going.poll(context, &mut server.stream, &mut moved) {
                    Poll::Ready(Ok(())) => *upload = None,
                    Poll::Ready(Err(UploadBroken::Server)) => self.is_deaf = true,
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
                    let message = "the server switched protocols without being asked";
                    return Err(FetchError::new(FetchErrorKind::Protocol, message));
                }
                if head.status >= 200 {
                    return Ok(Some(head));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    let message = "the server sends interim responses without end";
                    return Err(FetchError::new(FetchErrorKind::Protocol, message));
                }
                if server.unread().is_empty() {
                    return Ok(None);
                }
                self.parse(server)
            }
            Err(error) => {
                self.call.shared.metrics.count(Counter::BadResponses);
                let message = format!("the server's response is refused: {error}");
                Err(FetchError::new(FetchErrorKind::Protocol, message))
            }
        }
    }
}

/// The failure of an upload whose maker gave up.
pub(super) fn aborted() -> FetchError {
    FetchError::new(FetchErrorKind::Aborted, "the request's body ended prematurely")
}
