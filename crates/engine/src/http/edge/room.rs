//! What of a connection's responses `h2` may hold, and who hands over next.
//!
//! # How it works
//! `h2` sends what it holds in turns, and gives the connection's window to who asks first: it knows no priorities. So it
//! holds little at a time, no more than the client's window for the connection takes, and what else waits does so here, in
//! the order of [`super::priorities`]. As soon as there is room again, the connection's task lets the first of them go. One
//! that cannot send after all, because the window of its own stream is used up, waits for that in `h2` and holds up nobody.
//! Nor does what `h2` holds already when a client takes the window of its stream back (RFC 9113 section 6.9.2): what is left
//! when all else was written counts no more.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use headgate_upstream::http2::outgoing::Gate;
use headgate_wire::{FrameMeter, PriorityUpdate};
use http::HeaderMap;

use super::priorities::{Ids, Schedule, Turn};

/// What `h2` holds of a connection's responses, and up to a piece more, as pieces are not cut for it.
const HELD_BYTES: usize = 64 * 1024;

/// The window of a connection, before the client widens it (RFC 9113 section 6.9.2).
const FIRST_WINDOW_BYTES: i64 = 65_535;

/// A connection's room.
pub(super) struct Room {
    pub(super) schedule: Rc<Schedule>,
    held: Cell<usize>,
    /// What the client still takes on this connection, beyond what is held. Pieces that counted no more and are sent after
    /// all may take what others were to have.
    window: Cell<i64>,
    /// How often what was held has ceased to count.
    times_set_aside: Cell<u64>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            schedule: Rc::new(Schedule::new(Ids::HTTP2)),
            held: Cell::new(0),
            window: Cell::new(FIRST_WINDOW_BYTES),
            times_set_aside: Cell::new(0),
        }
    }

    /// Takes what `h2` does not tell of: how far the client widens its window, and what it says of priorities, of which
    /// some must not be.
    #[inline]
    pub(super) fn heed(&self, meter: &mut FrameMeter, max_streams: u32) -> Option<Reason> {
        self.widen(meter.take_widened());
        let wrong = |update: PriorityUpdate| match update {
            PriorityUpdate::Of(stream, field) => {
                let is_fine = self.schedule.update(u64::from(stream), &field, max_streams);
                (!is_fine).then_some(Reason::PROTOCOL_ERROR)
            }
            PriorityUpdate::Short => Some(Reason::FRAME_SIZE_ERROR),
            PriorityUpdate::Misplaced => Some(Reason::PROTOCOL_ERROR),
        };
        meter.take_priorities().into_iter().find_map(wrong)
    }

    /// The client takes so much more.
    #[inline]
    fn widen(&self, bytes: u64) {
        self.window.set(self.window.get().saturating_add_unsigned(bytes));
    }

    /// Less is left for what comes.
    #[inline]
    fn narrow(&self, bytes: usize) {
        self.window
            .set(self.window.get().saturating_sub_unsigned(bytes as u64));
    }

    /// `h2` has written all that it can: so what it holds waits for windows of streams, and must not hold up others.
    #[inline]
    pub(super) fn set_aside(&self, context: &mut Context<'_>) {
        if self.held.get() > 0 && self.schedule.has_waiting() && !self.is_free() {
            self.widen(self.held.take() as u64);
            self.times_set_aside.set(self.times_set_aside.get() + 1);
            self.let_go(context);
        }
    }

    /// Lets the first that waits go, if there is room: to be called whenever there may be.
    #[inline]
    pub(super) fn let_go(&self, context: &mut Context<'_>) {
        if self.schedule.has_waiting() && self.is_free() {
            self.schedule.wake_first();
            if self.schedule.has_waiting() {
                // it may leave room, or not come any more
                context.waker().wake_by_ref();
            }
        }
    }

    /// The connection is over: who waits gets to know of it from `h2`.
    pub(super) fn close(&self) {
        self.window.set(i64::MAX);
        self.held.set(0);
        while self.schedule.has_waiting() {
            self.schedule.wake_first();
        }
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.held.get() < HELD_BYTES && self.window.get() > 0
    }
}

/// A stream's way into the room.
pub(super) struct Entry {
    pub(super) turn: Turn,
    room: Rc<Room>,
}

impl Entry {
    /// For a stream that begins.
    pub(super) fn new(room: &Rc<Room>, stream: u32, fields: &HeaderMap) -> Self {
        let turn = room.schedule.begin(u64::from(stream));
        turn.client_says(fields);
        Self {
            turn,
            room: room.clone(),
        }
    }
}

impl Gate for Entry {
    type Piece = Piece;

    fn poll_room(
        &self,
        context: &mut Context<'_>,
        stream: &mut SendStream<Piece>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        let room = &*self.room;
        if room.is_free() && !self.turn.is_behind_others() {
            self.turn.stop_waiting();
            let most = usize::try_from(room.window.get()).unwrap_or(usize::MAX);
            return Poll::Ready(Ok(wanted.min(most)));
        }
        if stream.poll_reset(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.turn.wait(context);
        Poll::Pending
    }

    #[inline]
    fn piece(&self, bytes: Bytes) -> Piece {
        let room = &*self.room;
        room.held.set(room.held.get() + bytes.len());
        room.narrow(bytes.len());
        Piece {
            bytes,
            times_set_aside: room.times_set_aside.get(),
            room: self.room.clone(),
        }
    }
}

/// A part of a body that `h2` holds.
pub(super) struct Piece {
    bytes: Bytes,
    room: Rc<Room>,
    /// As it was when this was handed over.
    times_set_aside: u64,
}

impl Piece {
    /// Whether it counts as held.
    #[inline]
    fn counts(&self) -> bool {
        self.times_set_aside == self.room.times_set_aside.get()
    }
}

impl Buf for Piece {
    #[inline]
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.counts() {
            let held = &self.room.held;
            held.set(held.get().saturating_sub(count));
        } else {
            self.room.narrow(count);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // what was not sent, as its stream is no more, did not use the window
        let left = self.bytes.len();
        if left > 0 && self.counts() {
            self.room.held.set(self.room.held.get().saturating_sub(left));
            self.room.widen(left as u64);
        }
    }
}
