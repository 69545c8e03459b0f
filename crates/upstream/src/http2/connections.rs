//! Connections to a server that speaks HTTP/2: few, each shared by many requests.
//!
//! # How it works
//! A request takes a place on a connection that has one free, up to what the server allows at once; else one more is opened,
//! by one request at a time, for which the others wait. Each connection has a task: it drives `h2`, sends what was
//! gathered, pings the server while requests are on it, and ends the connection when it has been idle too long. A
//! connection that got a GOAWAY takes no more requests; those on it finish.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use headgate_shared::metrics::Metrics;
use http::uri::Scheme;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::spawn_local;

use super::server_stream::ServerStream;
use super::transport::{Transport, Wire};
use crate::dialer_parts::Dialer;
use crate::limits::LimitCounter;
use crate::spec::Keepalive;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{watched, Broken, Peer};
use headgate_net::stream::Stream;
use headgate_net::virtual_stream::{remember, wake};

/// What a stream's server may send ahead of its reader, and all streams of a connection together.
const WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * WINDOW_BYTES;

/// What a stream holds of a request that its server does not take yet.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The connections to one server.
#[derive(Default)]
pub struct SharedConnections {
    /// Browsers' calls are made calls of gRPC.
    translates_grpc_web: bool,
    open: RefCell<Vec<Rc<Carrier>>>,
    /// Held by whoever opens one more.
    opening: Mutex<()>,
}

/// Who may share a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing<'a> {
    /// Everybody.
    All,
    /// The requests of one client: its server was told who that is.
    Client(&'a str),
    /// One request: it authenticates the connection.
    Nobody,
}

/// One connection.
struct Carrier {
    /// See [`Sharing`].
    client: Option<Box<str>>,
    is_single: bool,
    send: SendRequest<Bytes>,
    active: Cell<usize>,
    served: Cell<u64>,
    /// See [`Keepalive::end_ms`].
    end_ms: u64,
    is_closing: Cell<bool>,
    /// The server's settings are there: whether it takes WebSockets is known.
    is_settled: Cell<bool>,
    /// Those who wait for that.
    settled: RefCell<Vec<Waker>>,
    /// Its task, which waits differently once there are no requests, or the first comes.
    task: RefCell<Option<Waker>>,
}

/// A request's place on a connection, given back when dropped.
pub struct StreamSlot(Rc<Carrier>);

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.active.get() == 0 {
            wake(&mut self.0.task.borrow_mut());
        }
    }
}

impl StreamSlot {
    /// Ready once the server's settings are known. They come first on a connection (RFC 9113 section 3.4), so that the
    /// response to a ping, or to a request, tells that they are there.
    pub fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        if self.0.is_settled.get() || self.0.is_closing.get() {
            return Poll::Ready(());
        }
        self.0.settled.borrow_mut().push(context.waker().clone());
        wake(&mut self.0.task.borrow_mut());
        Poll::Pending
    }

    /// The server has responded.
    #[inline]
    pub fn settle(&self) {
        self.0.is_settled.set(true);
    }
}

impl Carrier {
    /// It takes no more requests, and ends with the last one.
    fn leave(&self) {
        self.is_closing.set(true);
        wake(&mut self.task.borrow_mut());
    }

    fn settle(&self) {
        self.is_settled.set(true);
        self.settled.take().into_iter().for_each(Waker::wake);
    }

    fn has_room(&self, sharing: Sharing<'_>, max_requests: u64) -> bool {
        let is_shared = match sharing {
            Sharing::All => self.client.is_none(),
            Sharing::Client(client) => self.client.as_deref() == Some(client),
            Sharing::Nobody => false,
        };
        is_shared
            && !self.is_single
            && !self.is_closing.get()
            && self.active.get() < self.send.current_max_send_streams()
            && (max_requests == 0 || self.served.get() < max_requests)
    }

    fn take(self: &Rc<Self>, scheme: Scheme, translates_grpc_web: bool) -> Stream {
        if self.active.replace(self.active.get() + 1) == 0 {
            wake(&mut self.task.borrow_mut());
        }
        self.served.set(self.served.get() + 1);
        let slot = StreamSlot(self.clone());
        Stream::Virtual(Box::new(ServerStream::new(
            self.send.clone(),
            scheme,
            translates_grpc_web,
            slot,
        )))
    }
}

impl SharedConnections {
    /// None yet. `translates_grpc_web`: browsers' calls are made calls of gRPC.
    #[inline]
    pub fn new(translates_grpc_web: bool) -> Self {
        Self {
            translates_grpc_web,
            ..Self::default()
        }
    }

    /// How many connections take requests of everybody.
    pub fn count(&self) -> usize {
        let open = self.open.borrow();
        let takes = |carrier: &&Rc<Carrier>| {
            !carrier.is_closing.get() && carrier.client.is_none() && !carrier.is_single
        };
        open.iter().filter(takes).count()
    }

    /// The server is gone: no connection takes a request any more.
    pub(crate) fn retire(&self) {
        self.sweep(u64::MAX);
    }

    /// Connections that have become too old take no more requests.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let open = self.open.borrow();
        let old = open.iter().filter(|carrier| carrier.end_ms <= now_ms);
        old.for_each(|carrier| carrier.leave());
    }

    /// A stream on a connection with a free place.
    #[inline]
    pub fn reuse(&self, sharing: Sharing<'_>, scheme: Scheme, max_requests: u64) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|carrier| !carrier.is_closing.get());
        let carrier = open
            .iter()
            .find(|carrier| carrier.has_room(sharing, max_requests))?;
        Some(carrier.take(scheme, self.translates_grpc_web))
    }

    /// Waits for the right to open one more, within the watch's deadline.
    pub async fn turn(&self, watch: &Watched) -> Result<MutexGuard<'_, ()>, Broken> {
        let mut turn = pin!(self.opening.lock());
        poll_fn(|context| watched(turn.as_mut().poll(context).map(Ok), watch, context)).await
    }

    /// A stream on a new connection.
    pub async fn open(
        self: &Rc<Self>,
        peer: Peer,
        sharing: Sharing<'_>,
        scheme: Scheme,
        keepalive: Keepalive,
        dialer: &Dialer,
    ) -> Result<Stream, h2::Error> {
        let wire = Wire::new(peer, None, dialer.clock.clone(), dialer.buffers.clone());
        let wire = Rc::new(RefCell::new(wire));
        // nothing is waited for here: what is written is gathered, and leaves with the first request
        let (send, connection) = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false)
            .handshake(Transport(wire.clone()))
            .await?;
        let carrier = Rc::new(Carrier {
            client: match sharing {
                Sharing::Client(client) => Some(client.into()),
                Sharing::All | Sharing::Nobody => None,
            },
            is_single: sharing == Sharing::Nobody,
            send,
            active: Cell::new(0),
            served: Cell::new(0),
            end_ms: keepalive.end_ms(dialer.clock.now_ms()),
            is_closing: Cell::new(false),
            is_settled: Cell::new(false),
            settled: RefCell::default(),
            task: RefCell::new(None),
        });
        self.open.borrow_mut().push(carrier.clone());
        let stream = carrier.take(scheme, self.translates_grpc_web);
        let task = Task {
            wire,
            watch: dialer.deadlines.watch(&dialer.clock),
            carrier,
            list: self.clone(),
            metrics: dialer.metrics.clone(),
            keepalive,
            awaits_pong: false,
        };
        spawn_local(task.run(connection));
        Ok(stream)
    }
}

struct Task {
    wire: Rc<RefCell<Wire<Peer>>>,
    watch: Watched,
    carrier: Rc<Carrier>,
    list: Rc<SharedConnections>,
    metrics: Rc<Metrics>,
    keepalive: Keepalive,
    awaits_pong: bool,
}

impl Task {
    async fn run(mut self, mut connection: client::Connection<Transport<Peer>, Bytes>) {
        let mut pings = connection.ping_pong();
        poll_fn(|context| self.poll(context, &mut connection, pings.as_mut())).await;
        self.carrier.is_closing.set(true);
        self.carrier.settle();
        self.list
            .open
            .borrow_mut()
            .retain(|carrier| !Rc::ptr_eq(carrier, &self.carrier));
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut client::Connection<Transport<Peer>, Bytes>,
        pings: Option<&mut PingPong>,
    ) -> Poll<()> {
        let is_over = pin!(&mut *connection).poll(context).is_ready();
        let sent = self.wire.borrow_mut().poll_send(context);
        if is_over || matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        // a GOAWAY is reported to the caller that opens the next stream
        if let Poll::Ready(Err(_)) = self.carrier.send.clone().poll_ready(context) {
            self.carrier.is_closing.set(true);
        }
        remember(&mut self.carrier.task.borrow_mut(), context);
        if self.carrier.active.get() == 0 {
            // one that speaks for a client is not kept, as none of HTTP/1 is
            if self.carrier.is_closing.get() || self.carrier.is_single || self.carrier.client.is_some() {
                return Poll::Ready(());
            }
            self.arm(Limit::UpstreamKeepalive, self.keepalive.idle_timeout);
            self.awaits_pong = false;
        } else if let Some(pings) = pings {
            self.poll_ping(context, pings);
        }
        match self.watch.expired() {
            None => {}
            Some(limit) => {
                if limit == Limit::UpstreamPing {
                    self.metrics.count(limit.counter());
                }
                return Poll::Ready(());
            }
        }
        self.watch.register(context);
        Poll::Pending
    }

    /// Pings at intervals; the response must come within one more.
    fn poll_ping(&mut self, context: &mut Context<'_>, pings: &mut PingPong) {
        if self.awaits_pong && pings.poll_pong(context).is_ready() {
            self.awaits_pong = false;
            self.watch.disarm();
            self.carrier.settle();
        }
        let is_asked = !self.carrier.settled.borrow().is_empty();
        if is_asked && !self.awaits_pong && pings.send_ping(Ping::opaque()).is_ok() {
            self.awaits_pong = true;
            context.waker().wake_by_ref();
        }
        if self.watch.expired() == Some(Limit::UpstreamPing) && !self.awaits_pong {
            self.awaits_pong = pings.send_ping(Ping::opaque()).is_ok();
            self.watch.disarm();
            // so that it is sent, and its response waited for
            context.waker().wake_by_ref();
        }
        self.arm(Limit::UpstreamPing, self.keepalive.ping);
    }

    fn arm(&self, limit: Limit, ms: u64) {
        if !self.watch.is_armed_for(limit) {
            self.watch.arm(limit, ms);
        }
    }
}
