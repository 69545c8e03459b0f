//! The task that moves the packets of an endpoint's connections.
//!
//! # How it works
//! What has arrived is given to its connections, and their users are woken. The driver then lets everybody run who is ready
//! before it sends: responses that are written in that time leave together with the acknowledgements, and one call takes
//! all packets that a connection has. Connections take turns, so that a large response holds nobody up for long.

use std::future::Future;
use std::io::IoSliceMut;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{Connection, DatagramEvent, Transmit};
use quinn_udp::RecvMeta;
use tokio::time::{sleep_until, Sleep};

use super::endpoint::Inner;
use super::link::Link;
use super::socket::{mark, outgoing};
use super::timers::Timers;

/// Buffers that one call may fill.
const BUFFERS: usize = 16;

/// What one buffer takes: as much as the kernel puts together.
const BUFFER_BYTES: usize = 64 * 1024;

/// Calls that receive, before connections get their turn.
const ROUNDS: usize = 4;

/// What one call may send, in bytes: a UDP datagram's greatest size, less what the kernel needs.
const SEND_BYTES: usize = 64_000;

/// What a connection may send in its turn, in calls.
const CALLS: usize = 2;

/// See the module.
pub(super) struct Driver {
    inner: Rc<Inner>,
    received: Box<[u8]>,
    outgoing: Vec<u8>,
    /// What is in `outgoing` and found no room in the socket.
    blocked: Option<Transmit>,
    timers: Timers,
    sleep: Pin<Box<Sleep>>,
    /// When that ends, if it was set.
    wakes_at: Option<Instant>,
    /// Users have had their time since something was received.
    has_let_run: bool,
}

impl Driver {
    pub(super) fn new(inner: Rc<Inner>) -> Self {
        // the system gives memory only for what is used of it
        let bytes = if inner.socket.max_receive_segments() > 1 {
            BUFFERS * BUFFER_BYTES
        } else {
            BUFFERS * 2048
        };
        Self {
            inner,
            received: vec![0; bytes].into_boxed_slice(),
            outgoing: Vec::new(),
            blocked: None,
            timers: Timers::default(),
            sleep: Box::pin(sleep_until(Instant::now().into())),
            wakes_at: None,
            has_let_run: false,
        }
    }

    /// Takes what has arrived. `None`: the socket is broken; else whether there may be more.
    fn receive(&mut self, context: &mut Context<'_>, now: Instant) -> Option<bool> {
        let size = self.received.len() / BUFFERS;
        let mut chunks = self.received.chunks_exact_mut(size);
        let mut buffers: [_; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut response = Vec::new();
        for _ in 0..ROUNDS {
            match self.inner.socket.poll_receive(context, &mut buffers, &mut metas) {
                Poll::Ready(Ok(count)) => {
                    for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                        sort(&self.inner, now, (&buffer[..meta.len], meta), &mut response);
                    }
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a socket of QUIC failed");
                    return None;
                }
                Poll::Pending => return Some(false),
            }
        }
        Some(true)
    }

    /// Connections whose time has come get a turn.
    fn look_at_timers(&mut self, now: Instant) {
        while let Some((number, at)) = self.timers.pop(now) {
            if let Some(link) = self.inner.link(number) {
                if Timers::takes(&link.due, at) {
                    self.inner.work.put(&link);
                }
            }
        }
    }

    /// Tries again what the socket had no room for. Pending while it has none.
    fn poll_unblocked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(transmit) = &self.blocked {
            if self.inner.socket.poll_writable(context).is_pending() {
                return Poll::Pending;
            }
            if !is_full(self.inner.socket.try_send(&outgoing(transmit, &self.outgoing))) {
                self.blocked = None;
            }
        }
        Poll::Ready(())
    }

    /// Gives each connection that is in the queue its turn. True: there is more to do.
    fn run(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..self.inner.work.len() {
            if self.poll_unblocked(context).is_pending() {
                return false;
            }
            let Some(link) = self.inner.work.take() else { break };
            if self.turn(&link, now) {
                self.inner.work.put(&link);
            }
        }
        self.inner.work.len() > 0 && self.poll_unblocked(context).is_ready()
    }

    /// One connection's turn. True: it needs another.
    fn turn(&mut self, link: &Rc<Link>, now: Instant) -> bool {
        let state = &mut *link.state.borrow_mut();
        if state.poll_timeout().is_some_and(|due| due <= now) {
            state.handle_timeout(now);
        }
        let mut goes_on = self.send(state, now);
        let mut is_drained = false;
        while let Some(event) = state.poll_endpoint_events() {
            is_drained |= event.is_drained();
            let response = self.inner.state.borrow_mut().handle_event(link.handle, event);
            if let Some(event) = response {
                state.handle_event(event);
                goes_on = true;
            }
        }
        link.tell(state);
        if is_drained {
            self.inner.remove(link.handle);
            return false;
        }
        match state.poll_timeout() {
            Some(due) if due <= now => goes_on = true,
            Some(due) => self.timers.set(link.handle.0, &link.due, due),
            None => {}
        }
        goes_on
    }

    /// Sends what a connection has. True: there may be more.
    fn send(&mut self, state: &mut Connection, now: Instant) -> bool {
        for _ in 0..CALLS {
            let most = SEND_BYTES / usize::from(state.current_mtu());
            let most = most.min(self.inner.socket.max_send_segments()).max(1);
            self.outgoing.clear();
            let Some(transmit) = state.poll_transmit(now, most, &mut self.outgoing) else {
                return false;
            };
            if is_full(self.inner.socket.try_send(&outgoing(&transmit, &self.outgoing))) {
                self.blocked = Some(transmit);
                return true;
            }
        }
        true
    }

    /// Has the task woken when the next time comes. True: it has come.
    fn poll_sleep(&mut self, context: &mut Context<'_>) -> bool {
        let Some(next) = self.timers.next() else {
            return false;
        };
        if self.wakes_at.is_none_or(|at| next < at) {
            self.wakes_at = Some(next);
            self.sleep.as_mut().reset(next.into());
        }
        if self.sleep.as_mut().poll(context).is_pending() {
            return false;
        }
        self.wakes_at = None;
        true
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.inner.work.register(context);
        let now = Instant::now();
        let Some(mut goes_on) = this.receive(context, now) else {
            this.inner.fail();
            return Poll::Ready(());
        };
        this.look_at_timers(now);
        if this.inner.work.len() > 0 && !this.has_let_run {
            this.has_let_run = true;
            this.inner.work.tell();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.has_let_run = false;
        goes_on |= this.run(context, now);
        if this.inner.is_over() {
            return Poll::Ready(());
        }
        goes_on |= this.poll_sleep(context);
        if goes_on {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Gives datagrams of one size and one source to whom they are for.
fn sort(inner: &Inner, now: Instant, (bytes, meta): (&[u8], &RecvMeta), response: &mut Vec<u8>) {
    let mut rest = BytesMut::from(bytes);
    while !rest.is_empty() {
        // one that is alone needs no count of who holds its memory
        let datagram = if rest.len() <= meta.stride {
            std::mem::take(&mut rest)
        } else {
            rest.split_to(meta.stride.max(1))
        };
        response.clear();
        if let Some(hellos) = &inner.hellos {
            hellos.see(&datagram);
        }
        let mut state = inner.state.borrow_mut();
        let event = state.handle(now, meta.addr, meta.dst_ip, mark(meta), datagram, response);
        drop(state);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(link) = inner.link(handle.0) {
                    link.state.borrow_mut().handle_event(event);
                    inner.work.put(&link);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => inner.arrive(incoming),
            Some(DatagramEvent::Response(transmit)) => inner.respond(&transmit, response),
            None => {}
        }
    }
}

fn is_full(sent: std::io::Result<()>) -> bool {
    sent.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
