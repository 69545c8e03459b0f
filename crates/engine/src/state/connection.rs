//! A client's connection: what is held of it between two requests, which is almost nothing.

use std::rc::Rc;
use std::task::{Context, Waker};

use super::admission::{Admission, Counted};
use super::Shared;
use crate::hooks::connection::ClientInfo;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::pace::Unpace;
use headgate_net::peer::{Broken, Peer, BUFFER_BYTES};
use headgate_net::stream::Stream;
use headgate_upstream::LimitCounter;
use headgate_upstream::{Pooled, Upstream};

/// How long a client may still send after a response that did not wait for its body.
const LINGER_MS: u64 = 2_000;

/// And how much.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// See the module.
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    pub(crate) watch: Watched,
    pub(crate) shared: Rc<Shared>,
    pub(crate) client: Rc<ClientInfo>,
    pub(crate) served: u64,
    /// A connection to a server that speaks for this client alone.
    pub(crate) reserved_server: Option<Box<ReservedServer>>,
    /// Takes the bandwidth limits of the current request off the client's stream.
    pub(crate) unpace: Option<Box<Unpace>>,
    /// How many requests of the gateway itself led to this connection; 0 for a client's.
    pub(crate) depth: u8,
    _admission: Admission,
}

/// A connection to a server on which the client has authenticated itself: no other client's requests may go on it.
pub(crate) struct ReservedServer {
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) server: usize,
    pub(crate) pooled: Box<Pooled>,
}

impl ReservedServer {
    /// Whether it leads to that server of that upstream.
    pub(crate) fn leads_to(&self, upstream: &Rc<Upstream>, server: usize) -> bool {
        self.server == server && Rc::ptr_eq(&self.upstream, upstream)
    }
}

/// What follows an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The next request.
    KeepAlive,
    /// The end.
    Close,
    /// The end, in the middle of a response.
    Cut,
    /// The end, after the client has had time to read the response although it was still sending (RFC 9112 section 9.6).
    Linger,
}

impl Connection {
    pub(crate) fn open(
        stream: Stream,
        client: Rc<ClientInfo>,
        shared: Rc<Shared>,
        counted: Counted,
    ) -> Box<Self> {
        let admission = Admission::enter(&shared, counted);
        let peer = Peer::new(stream, shared.buffers.clone());
        Self::resume(peer, client, shared, admission)
    }

    /// A connection that is admitted already, of which bytes may have been read.
    pub(crate) fn resume(
        peer: Peer,
        client: Rc<ClientInfo>,
        shared: Rc<Shared>,
        admission: Admission,
    ) -> Box<Self> {
        let watch = shared.deadlines.watch(&shared.clock);
        shared.busy.notify_one();
        Box::new(Self {
            peer,
            watch,
            shared,
            client,
            served: 0,
            reserved_server: None,
            unpace: None,
            depth: 0,
            _admission: admission,
        })
    }

    /// Waits for the first bytes of a request. False: there will be none.
    pub(crate) async fn await_bytes(&mut self) -> bool {
        let own = self
            .client
            .preread
            .as_ref()
            .and_then(|preread| preread.idle_ms.get());
        let idle_ms = own.unwrap_or_else(|| self.shared.tables().timeouts.client_idle);
        self.watch.arm(Limit::ClientIdle, idle_ms);
        match self.peer.fill(&self.watch, BUFFER_BYTES).await {
            Ok(_) => true,
            Err(Broken::Limit(limit)) => {
                self.shared.metrics.count(limit.counter());
                false
            }
            Err(Broken::Closed | Broken::Io(_)) => false,
        }
    }

    /// A request is over: its limits end, and nothing is waited for.
    pub(crate) fn end_request(&mut self) {
        if let Some(unpace) = self.unpace.take() {
            unpace.restore(&mut self.peer);
        }
        self.watch.disarm();
    }

    /// Ends a TLS session as it should be, so that the client can distinguish a whole response from one that was cut (RFC 8446
    /// section 6.1).
    pub(crate) fn close_tls(mut self) {
        if matches!(self.peer.stream, Stream::Tls(_)) {
            // 24 bytes after a response that the kernel took: if they do not fit the client reads nothing anyway
            let _ = self
                .peer
                .stream
                .poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Lets the client read the response before the connection is closed under what it still sends.
    pub(crate) async fn linger(mut self) {
        self.watch.arm(Limit::Linger, LINGER_MS);
        if !self.peer.shutdown(&self.watch).await {
            return;
        }
        let mut dropped = 0;
        while dropped < LINGER_BYTES {
            self.peer.consume(self.peer.unread().len());
            match self.peer.fill(&self.watch, BUFFER_BYTES).await {
                Ok(n) => dropped += n,
                Err(_) => return,
            }
        }
    }
}
