//! What request hooks read of the request's body, and what they put in its place.
//!
//! # How it works
//! A hook runs in asyncio while the request's own task holds the connection. So the hook leaves a [`Want`] here and wakes
//! that task, which waits for the hook anyway; it reads, keeps what came in a [`Spool`] so that it can still be sent on,
//! and calls the want's continuation. A body that breaks ends the request, and with it the hook that waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use super::piece::Chunk;
use super::spool::Spool;
use super::verdict::BodySource;

/// How much of the body a hook wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// All of it; it is kept.
    Whole,
    /// The next piece; it is kept.
    Piece,
    /// The next piece; it is gone then.
    PieceAway,
}

/// What a hook gets.
pub enum Delivery {
    /// All was read: see [`Intake::whole`].
    Whole,
    /// The next piece.
    Piece(Chunk),
    /// There is no next piece.
    End,
    /// The time to read has passed.
    Over,
}

/// Called once with what was wanted.
pub type Continuation = Box<dyn FnOnce(Delivery)>;

/// What a hook puts in the body's place.
pub enum NewBody {
    /// These bytes.
    Bytes(Chunk),
    /// What this gives.
    Stream(Box<dyn BodySource>),
}

/// How much of the body was read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Taken {
    /// Nothing.
    #[default]
    Nothing,
    /// A part, which is kept.
    Part,
    /// All, which is kept.
    Whole,
    /// A part or all, which is not kept.
    Away,
}

/// See the module.
#[derive(Default)]
pub struct Intake {
    pub(crate) taken: Cell<Taken>,
    pub(crate) is_at_end: Cell<bool>,
    pub(crate) spool: RefCell<Option<Spool>>,
    pub(crate) new_body: RefCell<Option<NewBody>>,
    sent: RefCell<Option<Chunk>>,
    wants: RefCell<VecDeque<(Want, Continuation)>>,
    waker: RefCell<Option<Waker>>,
}

impl Intake {
    /// Whether some of the body is wanted now.
    pub(crate) fn is_reading(&self) -> bool {
        !self.wants.borrow().is_empty()
    }

    /// How much was read.
    pub fn taken(&self) -> Taken {
        self.taken.get()
    }

    /// Whether a hook has read or replaced it.
    pub(crate) fn is_used(&self) -> bool {
        self.taken.get() != Taken::Nothing || self.new_body.borrow().is_some()
    }

    /// There is no body, and it was read.
    pub fn read_nothing(&self) {
        self.is_at_end.set(true);
        self.taken.set(Taken::Whole);
    }

    /// Asks for some of the body. The continuation is called later, by the request's own task.
    pub fn want(&self, want: Want, continuation: Continuation) {
        self.wants.borrow_mut().push_back((want, continuation));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The body that was read whole.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn whole(&self) -> std::io::Result<Vec<u8>> {
        self.spool.borrow().as_ref().map_or(Ok(Vec::new()), Spool::whole)
    }

    /// Puts another body in its place.
    pub fn replace(&self, body: NewBody) {
        self.new_body.replace(Some(body));
    }

    /// The bytes put in its place; `None` if there are none, or a stream.
    pub fn new_bytes(&self) -> Option<Chunk> {
        match &*self.new_body.borrow() {
            Some(NewBody::Bytes(chunk)) => Some(chunk.clone()),
            Some(NewBody::Stream(_)) => None,
            None => self.sent.borrow().clone(),
        }
    }

    /// The bytes that were put in its place go out now.
    pub(crate) fn remember(&self, chunk: Chunk) {
        self.sent.replace(Some(chunk));
    }

    /// Whether a stream was put in its place.
    pub fn is_streamed(&self) -> bool {
        matches!(&*self.new_body.borrow(), Some(NewBody::Stream(_)))
    }

    /// The `request` hooks are done: who still wants something gets nothing.
    pub(crate) fn close(&self) {
        loop {
            let next = self.wants.borrow_mut().pop_front();
            match next {
                Some((_, continuation)) => continuation(Delivery::Over),
                None => return,
            }
        }
    }

    /// What is requested next.
    pub(crate) fn wanted(&self) -> Option<Want> {
        self.wants.borrow().front().map(|(want, _)| *want)
    }

    /// Has this task woken when something is requested.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.replace(Some(waker.clone()));
    }

    /// Delivers to the next one who waits.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        let next = self.wants.borrow_mut().pop_front();
        if let Some((_, continuation)) = next {
            continuation(delivery);
        }
    }
}
