//! A client's connection: one request after another, and almost nothing held between them.

use std::rc::Rc;

use headgate_wire::{parse_request, Parsed, RequestError, RequestHead};

use crate::access_log::Entry;
use crate::deadline::Watched;
use crate::exchange;
use crate::exchange_state::ClientInfo;
use crate::limits::Limit;
use crate::metrics::Counter;
use crate::peer::{Broken, Peer, BUFFER_BYTES};
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
    counted: Counted,
    /// How many requests of the gateway itself led to this connection; 0 for a client's.
    pub(crate) depth: u8,
}

/// What a connection counts towards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Nothing: it is carried by another connection, or is the gateway's own.
    Not,
    /// The connections of the worker.
    Connection,
    /// These, and those of its client's address.
    ConnectionOfClient,
}

/// What follows an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The next request.
    KeepAlive,
    /// The end.
    Close,
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
    pub(crate) fn open(stream: Stream, client: Rc<ClientInfo>, shared: Rc<Shared>, counted: Counted) -> Self {
        if counted != Counted::Not {
            shared.connections.set(shared.connections.get() + 1);
            shared.metrics.count(Counter::ConnectionsActive);
        }
        if counted == Counted::ConnectionOfClient {
            *shared
                .per_client
                .borrow_mut()
                .entry(client.address.clone())
                .or_insert(0) += 1;
        }
        let watch = shared.deadlines.watch(&shared.clock);
        shared.busy.notify_one();
        Self {
            peer: Peer::new(stream, shared.buffers.clone()),
            watch,
            shared,
            client,
            served: 0,
            depth: 0,
            counted,
        }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn run(mut self) {
        loop {
            if self.peer.unread().is_empty() && !self.await_bytes().await {
                return;
            }
            // boxed, so that a connection between two requests does not hold the room of one
            match Box::pin(exchange::serve(&mut self)).await {
                Next::KeepAlive => self.served += 1,
                Next::Close => return,
                Next::Linger => return self.linger().await,
            }
        }
    }

    /// Waits for the first bytes of a request. False: there will be none.
    async fn await_bytes(&mut self) -> bool {
        let idle_ms = self.shared.tables().timeouts.client_idle;
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

    /// Lets the client read the answer before the connection is closed under what it still sends.
    async fn linger(mut self) {
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

impl Drop for Connection {
    fn drop(&mut self) {
        let shared = &self.shared;
        if self.counted == Counted::Not {
            return;
        }
        shared.connections.set(shared.connections.get() - 1);
        shared.metrics.sub(Counter::ConnectionsActive, 1);
        if self.counted == Counted::ConnectionOfClient {
            let mut per_client = shared.per_client.borrow_mut();
            if let Some(count) = per_client.get_mut(&self.client.address) {
                *count -= 1;
                if *count == 0 {
                    per_client.remove(&self.client.address);
                }
            }
        }
    }
}

/// Logs a connection that was closed unserved because of a limit.
pub(crate) fn log_refusal(tables: &Tables, shared: &Shared, client: &ClientInfo, limit: &'static str) {
    if let Some(log) = &tables.access_log {
        let time_unix_ms = shared.clock.unix_ms(shared.clock.tick());
        log.record(&Entry {
            time_unix_ms,
            client: &client.address,
            limit,
            error: "connection_refused",
            ..Entry::default()
        });
    }
}
