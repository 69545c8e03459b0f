//! A client's connection: one request after another, and almost nothing held between them.

use std::rc::Rc;
use std::task::{Context, Waker};

use headgate_wire::{parse_request, Parsed, RequestError, RequestHead};

use crate::access_log::{Entry, TlsFacts};
use crate::deadline::Watched;
use crate::hooks::exchange::ClientInfo;
use crate::http::exchange;
use crate::http2;
use crate::limits::{Limit, LimitCounter};
use crate::metrics::Counter;
use crate::peer::{Broken, Peer, BUFFER_BYTES};
use crate::snapshot::H2c;
use crate::state::admission::{Admission, Full};
use crate::stream::Stream;
use crate::tables::Tables;
use crate::worker::Shared;

/// How long a client may still send after an answer that did not wait for its body.
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
    /// How many requests of the gateway itself led to this connection; 0 for a client's.
    pub(crate) depth: u8,
    _admission: Admission,
}

/// What a connection counts towards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Nothing: it is carried by another connection, or is the gateway's own.
    Not,
    /// The connections of the worker.
    Connection,
}

/// What follows an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The next request.
    KeepAlive,
    /// The end.
    Close,
    /// The end, in the middle of an answer.
    Cut,
    /// The end, after the client has had time to read the answer although it was still sending (RFC 9112 section 9.6).
    Linger,
}

/// Why there is no request.
pub(crate) enum NoRequest {
    /// The client closed between requests, or broke off.
    Gone,
    /// A deadline passed with nothing, or only a part, of a head.
    Late { limit: Limit, has_begun: bool },
    /// The head is refused.
    Refused(RequestError),
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
            depth: 0,
            _admission: admission,
        })
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn run(self: Box<Self>) {
        let mut connection = self;
        // some may be there already: what came with a PROXY header
        if connection.peer.unread().is_empty() && !connection.await_bytes().await {
            return;
        }
        if connection.is_http2().await {
            return Box::pin(http2::serve(*connection)).await;
        }
        let attendants = connection.shared.attendants.clone();
        loop {
            if connection.peer.unread().is_empty() && !connection.await_bytes().await {
                return;
            }
            let next;
            (connection, next) = attendants.serve(connection).await;
            match next {
                Next::KeepAlive => connection.served += 1,
                Next::Close => return connection.say_goodbye(),
                Next::Cut => return,
                Next::Linger => return Box::pin(connection.linger()).await,
            }
        }
    }

    /// Serves the one request that a stream of another connection carries.
    pub(crate) async fn run_once(mut self: Box<Self>) {
        // what follows is that connection's matter: a stream's end needs no lingering; boxed, because a task is moved
        // several times before it runs
        let _ = Box::pin(exchange::serve(&mut self)).await;
    }

    /// Whether the first bytes are those of HTTP/2, or nothing else may come.
    async fn is_http2(&mut self) -> bool {
        let tables = self.shared.tables();
        if let Some(tls) = &self.client.tls {
            // the handshake has decided (RFC 9113 section 3.3)
            return tls.alpn == "h2";
        }
        match tables.http2.h2c {
            H2c::Only => tables.http2.enabled && self.peer.stream.socket().is_some(),
            // a cheap look first: no usual method begins like the preface
            H2c::Detect if self.peer.unread().starts_with(b"P") => {
                self.watch.arm(Limit::ClientHead, tables.timeouts.client_head);
                tables.http2.enabled && http2::begins_with_preface(self).await
            }
            H2c::Detect | H2c::Off => false,
        }
    }

    /// Waits for the first bytes of a request. False: there will be none.
    async fn await_bytes(&mut self) -> bool {
        let own = self
            .client
            .opening
            .as_ref()
            .and_then(|opening| opening.idle_ms.get());
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

    /// Reads a request's head, the first bytes of which are there.
    pub(crate) async fn read_head(&mut self, tables: &Tables) -> Result<RequestHead, NoRequest> {
        let mut is_armed = false;
        loop {
            match parse_request(self.peer.unread(), tables.head_limits()) {
                Ok(Parsed::Complete { head, len }) => {
                    self.peer.consume(len);
                    return Ok(head);
                }
                Ok(Parsed::Partial) => {}
                Err(error) => return Err(NoRequest::Refused(error)),
            }
            if !is_armed {
                // once: from the first byte on, however slowly the rest comes
                self.watch.arm(Limit::ClientHead, tables.timeouts.client_head);
                is_armed = true;
            }
            match self.peer.fill(&self.watch, BUFFER_BYTES).await {
                Ok(_) => {}
                Err(Broken::Limit(limit)) => {
                    return Err(NoRequest::Late {
                        limit,
                        has_begun: !self.peer.unread().is_empty(),
                    })
                }
                Err(_) => return Err(NoRequest::Gone),
            }
        }
    }

    /// Ends a TLS session as it should be, so that the client can tell a whole answer from one that was cut (RFC 8446
    /// section 6.1).
    fn say_goodbye(mut self) {
        if matches!(self.peer.stream, Stream::Tls(_)) {
            // 24 bytes after an answer that the kernel took: if they do not fit the client reads nothing anyway
            let _ = self
                .peer
                .stream
                .poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Lets the client read the answer before the connection is closed under what it still sends.
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

/// Why a connection is closed before it is served.
pub(crate) struct Refusal {
    pub(crate) error: &'static str,
    pub(crate) limit: &'static str,
    pub(crate) counter: Counter,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, counter: Counter) -> Self {
        Self {
            error,
            limit: "",
            counter,
        }
    }

    pub(crate) fn full(full: &Full) -> Self {
        Self {
            error: "connection_refused",
            limit: full.limit,
            counter: full.counter,
        }
    }
}

/// Logs a connection that was closed unserved; `host` is the name it asked for in TLS, if it got so far.
pub(crate) fn log_refusal(
    tables: &Tables,
    shared: &Shared,
    client: &ClientInfo,
    (refusal, host): (&Refusal, &str),
    began_us: u64,
) {
    if let Some(log) = &tables.access_log {
        let now = shared.clock.tick();
        log.record(&Entry {
            time_unix_ms: shared.clock.unix_ms(began_us),
            client: &client.address,
            host: host.as_bytes(),
            tls: client.tls.as_deref().map(TlsFacts::from),
            limit: refusal.limit,
            error: refusal.error,
            total_us: now.saturating_sub(began_us),
            ..Entry::default()
        });
    }
}
