//! Connections to a server that speaks HTTP/3: few, each shared by many requests.
//!
//! # How it works
//! As with HTTP/2, a request takes a place on a connection that has one, else one more is opened, by one request at a time.
//! Each connection has a task, which hears what the server says of the connection and ends it when it has been idle too
//! long. QUIC itself pings the server. One that the server is leaving (GOAWAY) takes no more requests.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{watched, Broken};
use headgate_net::quic::{Connection, SendStream};
use headgate_net::stream::Stream;
use headgate_net::virtual_stream::{remember, wake};
use headgate_wire::http3::code;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::spawn_local;

use super::control;
use super::frames::close;
use super::server_stream::ServerStream;
use crate::dialer_parts::Dialer;
use crate::http2::connections::Sharing;
use crate::http2::fields::OWN_HEADS;
use crate::spec::Keepalive;

/// Requests at once on a connection, if the server allows as many: what servers allow by default.
const MAX_ACTIVE: usize = 100;

/// The connections to one server.
#[derive(Default)]
pub struct Http3Connections {
    open: RefCell<Vec<Rc<Carrier>>>,
    /// Held by whoever opens one more.
    opening: Mutex<()>,
}

/// One connection.
pub(super) struct Carrier {
    /// See [`Sharing`].
    client: Option<Box<str>>,
    is_single: bool,
    pub(super) connection: Connection,
    /// What this side says of the connection; it must stay open.
    _control: SendStream,
    active: Cell<usize>,
    served: Cell<u64>,
    /// See [`Keepalive::end_ms`].
    end_ms: u64,
    is_closing: Cell<bool>,
    /// Its task, which waits differently once there are no requests, or the first comes.
    task: RefCell<Option<Waker>>,
}

/// A request's place on a connection, given back when dropped.
pub(super) struct Place(pub(super) Rc<Carrier>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.active.get() == 0 {
            wake(&mut self.0.task.borrow_mut());
        }
    }
}

impl Carrier {
    fn has_room(&self, sharing: Sharing<'_>, max_requests: u64) -> bool {
        let is_shared = match sharing {
            Sharing::All => self.client.is_none(),
            Sharing::Client(client) => self.client.as_deref() == Some(client),
            Sharing::Nobody => false,
        };
        is_shared
            && !self.is_single
            && !self.is_closing.get()
            && self.active.get() < MAX_ACTIVE
            && (max_requests == 0 || self.served.get() < max_requests)
    }

    fn take(self: &Rc<Self>) -> Stream {
        if self.active.replace(self.active.get() + 1) == 0 {
            wake(&mut self.task.borrow_mut());
        }
        self.served.set(self.served.get() + 1);
        Stream::Virtual(Box::new(ServerStream::new(Place(self.clone()))))
    }

    /// It takes no more requests.
    fn leave(&self) {
        self.is_closing.set(true);
        wake(&mut self.task.borrow_mut());
    }
}

impl Http3Connections {
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
    pub fn reuse(&self, sharing: Sharing<'_>, max_requests: u64) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|carrier| !carrier.is_closing.get() && carrier.connection.lost().is_none());
        let carrier = open
            .iter()
            .find(|carrier| carrier.has_room(sharing, max_requests))?;
        Some(carrier.take())
    }

    /// Waits for the right to open one more, within the watch's deadline.
    pub async fn turn(&self, watch: &Watched) -> Result<MutexGuard<'_, ()>, Broken> {
        let mut turn = pin!(self.opening.lock());
        poll_fn(|context| watched(turn.as_mut().poll(context).map(Ok), watch, context)).await
    }

    /// A stream on a new connection. `None`: it is over already.
    pub async fn keep(
        self: &Rc<Self>,
        connection: Connection,
        sharing: Sharing<'_>,
        keepalive: Keepalive,
        dialer: &Dialer,
    ) -> Option<Stream> {
        let control = control::open(&connection, OWN_HEADS.max_bytes).await?;
        let carrier = Rc::new(Carrier {
            client: match sharing {
                Sharing::Client(client) => Some(client.into()),
                Sharing::All | Sharing::Nobody => None,
            },
            is_single: sharing == Sharing::Nobody,
            connection,
            _control: control,
            active: Cell::new(0),
            served: Cell::new(0),
            end_ms: keepalive.end_ms(dialer.clock.now_ms()),
            is_closing: Cell::new(false),
            task: RefCell::new(None),
        });
        self.open.borrow_mut().push(carrier.clone());
        let stream = carrier.take();
        let task = Task {
            watch: dialer.deadlines.watch(&dialer.clock),
            carrier,
            list: self.clone(),
            keepalive,
        };
        spawn_local(task.run());
        Some(stream)
    }
}

struct Task {
    watch: Watched,
    carrier: Rc<Carrier>,
    list: Rc<Http3Connections>,
    keepalive: Keepalive,
}

impl Task {
    async fn run(self) {
        poll_fn(|context| self.poll(context)).await;
        self.carrier.is_closing.set(true);
        close(&self.carrier.connection, code::NO_ERROR, "");
        self.list
            .open
            .borrow_mut()
            .retain(|carrier| !Rc::ptr_eq(carrier, &self.carrier));
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let connection = &self.carrier.connection;
        loop {
            match connection.poll_accept_one_way(context) {
                Poll::Ready(Ok(stream)) => {
                    let carrier = self.carrier.clone();
                    spawn_local(control::hear(connection.clone(), stream, move || carrier.leave()));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        remember(&mut self.carrier.task.borrow_mut(), context);
        if self.carrier.active.get() > 0 {
            self.watch.disarm();
        } else {
            // one that speaks for a client is not kept, as none of HTTP/1 is
            if self.carrier.is_closing.get() || self.carrier.is_single || self.carrier.client.is_some() {
                return Poll::Ready(());
            }
            if !self.watch.is_armed_for(Limit::UpstreamKeepalive) {
                self.watch
                    .arm(Limit::UpstreamKeepalive, self.keepalive.idle_timeout);
            }
        }
        if self.watch.expired().is_some() {
            return Poll::Ready(());
        }
        self.watch.register(context);
        Poll::Pending
    }
}
