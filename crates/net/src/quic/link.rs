//! One connection, as the driver and its users share it.

use std::cell::{Cell, RefCell};
use std::collections::{btree_map::Entry, BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionError, ConnectionHandle, Event, StreamEvent, VarInt};

use super::timers::Due;
use crate::virtual_stream::{remember, wake};

/// Connections that have something to do, and the task that sees to them.
#[derive(Default)]
pub(super) struct Work {
    queue: RefCell<VecDeque<Rc<Link>>>,
    driver: RefCell<Option<Waker>>,
}

impl Work {
    /// Puts a connection behind the others, unless it is there.
    pub(super) fn put(&self, link: &Rc<Link>) {
        if !link.is_queued.replace(true) {
            self.queue.borrow_mut().push_back(link.clone());
        }
    }

    /// The first of them.
    pub(super) fn take(&self) -> Option<Rc<Link>> {
        let link = self.queue.borrow_mut().pop_front()?;
        link.is_queued.set(false);
        Some(link)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Lets users know what has happened on the connections that are there.
    pub(super) fn tell(&self) {
        for link in self.queue.borrow().iter() {
            link.tell(&mut link.state.borrow_mut());
        }
    }

    /// Has the driver run.
    pub(super) fn wake(&self) {
        wake(&mut self.driver.borrow_mut());
    }

    /// The driver is to be woken by this context's waker.
    pub(super) fn register(&self, context: &Context<'_>) {
        remember(&mut self.driver.borrow_mut(), context);
    }
}

/// What a task waits for on a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// That there is something to read.
    Read,
    /// That something may be written.
    Write,
    /// That the peer gives it up, or has all of it.
    Stopped,
}

/// Who waits. Few do on an idle connection, so that empty places must cost little.
#[derive(Default)]
struct Waiting {
    streams: BTreeMap<(u64, Wait), Waker>,
    handshake: Option<Waker>,
    accepting: Option<Waker>,
    opening: Vec<Waker>,
}

/// See the module.
pub(super) struct Link {
    pub(super) handle: ConnectionHandle,
    pub(super) state: RefCell<Connection>,
    pub(super) due: Due,
    work: Rc<Work>,
    waiting: RefCell<Waiting>,
    is_queued: Cell<bool>,
    has_hello: Cell<bool>,
    is_connected: Cell<bool>,
    lost: RefCell<Option<ConnectionError>>,
    users: Cell<usize>,
}

impl Link {
    pub(super) fn new(handle: ConnectionHandle, state: Connection, work: Rc<Work>) -> Rc<Self> {
        Rc::new(Self {
            handle,
            state: RefCell::new(state),
            due: Due::default(),
            work,
            waiting: RefCell::default(),
            is_queued: Cell::new(false),
            has_hello: Cell::new(false),
            is_connected: Cell::new(false),
            lost: RefCell::default(),
            users: Cell::new(0),
        })
    }

    /// Its state was changed, so that there may be something to send.
    pub(super) fn changed(self: &Rc<Self>) {
        self.work.put(self);
        self.work.wake();
    }

    /// Why it is over, once it is.
    pub(super) fn lost(&self) -> Option<ConnectionError> {
        self.lost.borrow().clone()
    }

    /// The client's first message was read.
    pub(super) fn has_hello(&self) -> bool {
        self.has_hello.get()
    }

    /// The handshake is complete.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected.get()
    }

    /// Ends it.
    pub(super) fn close(self: &Rc<Self>, code: VarInt, reason: Bytes) {
        self.state.borrow_mut().close(Instant::now(), code, reason);
        self.lose(ConnectionError::LocallyClosed);
        self.changed();
    }

    /// Lets its users know what has happened.
    pub(super) fn tell(&self, state: &mut Connection) {
        while let Some(event) = state.poll() {
            match event {
                Event::HandshakeDataReady => {
                    self.has_hello.set(true);
                    wake(&mut self.waiting.borrow_mut().handshake);
                }
                Event::Connected => {
                    self.is_connected.set(true);
                    wake(&mut self.waiting.borrow_mut().handshake);
                }
                Event::ConnectionLost { reason } => self.lose(reason),
                Event::Stream(StreamEvent::Opened { .. }) => wake(&mut self.waiting.borrow_mut().accepting),
                Event::Stream(StreamEvent::Available { .. }) => self.wake_opening(),
                Event::Stream(StreamEvent::Readable { id }) => self.wake_stream(id.into(), Wait::Read),
                Event::Stream(StreamEvent::Writable { id }) => self.wake_stream(id.into(), Wait::Write),
                Event::Stream(StreamEvent::Finished { id }) => self.wake_stream(id.into(), Wait::Stopped),
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    self.wake_stream(id.into(), Wait::Stopped);
                    self.wake_stream(id.into(), Wait::Write);
                }
                // neither is allowed
                Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
    }

    /// It is over, and whoever waits learns of it.
    pub(super) fn lose(&self, reason: ConnectionError) {
        self.lost.replace(Some(reason));
        let Waiting {
            streams,
            mut handshake,
            mut accepting,
            opening,
        } = self.waiting.take();
        wake(&mut handshake);
        wake(&mut accepting);
        streams.into_values().chain(opening).for_each(Waker::wake);
    }

    fn wake_stream(&self, stream: u64, wait: Wait) {
        if let Some(waker) = self.waiting.borrow_mut().streams.remove(&(stream, wait)) {
            waker.wake();
        }
    }

    fn wake_opening(&self) {
        let opening = std::mem::take(&mut self.waiting.borrow_mut().opening);
        opening.into_iter().for_each(Waker::wake);
    }

    /// Pending, until the stream has what is waited for. Ready with the reason if the connection is over.
    pub(super) fn wait<T>(
        &self,
        stream: u64,
        wait: Wait,
        context: &Context<'_>,
    ) -> Poll<Result<T, ConnectionError>> {
        if let Some(lost) = self.lost() {
            return Poll::Ready(Err(lost));
        }
        match self.waiting.borrow_mut().streams.entry((stream, wait)) {
            Entry::Occupied(entry) if entry.get().will_wake(context.waker()) => {}
            Entry::Occupied(mut entry) => {
                entry.insert(context.waker().clone());
            }
            Entry::Vacant(entry) => {
                entry.insert(context.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Nobody waits for that any more.
    pub(super) fn forget(&self, stream: u64, wait: Wait) {
        self.waiting.borrow_mut().streams.remove(&(stream, wait));
    }

    /// The same for the next step of the handshake.
    pub(super) fn wait_for_handshake(&self, context: &Context<'_>) {
        remember(&mut self.waiting.borrow_mut().handshake, context);
    }

    /// The same for a stream that the peer opens.
    pub(super) fn wait_for_streams(&self, context: &Context<'_>) {
        remember(&mut self.waiting.borrow_mut().accepting, context);
    }

    /// The same for leave to open a stream.
    pub(super) fn wait_to_open(&self, context: &Context<'_>) {
        self.waiting.borrow_mut().opening.push(context.waker().clone());
    }
}

/// Somebody who uses a connection. Without users it is closed.
pub(super) struct User(Rc<Link>);

impl User {
    pub(super) fn new(link: Rc<Link>) -> Self {
        link.users.set(link.users.get() + 1);
        Self(link)
    }
}

impl Clone for User {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl std::ops::Deref for User {
    type Target = Rc<Link>;

    fn deref(&self) -> &Rc<Link> {
        &self.0
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.0.users.set(self.0.users.get() - 1);
        if self.0.users.get() == 0 && !self.0.state.borrow().is_closed() {
            self.0.close(VarInt::from_u32(0), Bytes::new());
        }
    }
}
