//! Which response of a connection is sent first (extensible priorities, RFC 9218), in HTTP/2 and HTTP/3.
//!
//! # How it works
//! A response has a rank. Ranks follow urgency. Within one, responses that are of use only whole come first, one after the
//! other, then those that share. A response of which nobody has said anything shares: its client may not know of
//! priorities.
//!
//! What waits for room is in one order, the highest rank first, and those of one rank in turns. Who hands out the room
//! asks here: HTTP/2 ([`super::room`]) lets the first go, whenever there is some. QUIC sends what it has taken by rank
//! itself; there, before a stream takes of the room, those of a higher rank are woken and go first
//! ([`Turn::poll_write`]). A stream that has room and does not use it holds nobody up.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use headgate_wire::Priority;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that says how urgent a response is (RFC 9218 section 5).
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// Ranks that one urgency has: the upper half for responses that go one after the other.
const RANKS: i32 = 1 << 27;

/// So many times the streams that may be open are spoken of in frames, at most; the oldest are forgotten.
const REMEMBERED: usize = 2;

/// A rank, and the number of who came to wait with it.
type Place = (Reverse<i32>, u64);

/// The streams of a connection.
pub(super) struct Schedule {
    /// Streams that wait for room, the highest rank first.
    waiting: RefCell<BTreeMap<Place, (u64, Waker)>>,
    /// How many have come to wait.
    arrivals: Cell<u64>,
    /// What frames have said of requests, also before these came.
    said: RefCell<BTreeMap<u64, Priority>>,
    /// How often they have.
    changes: Cell<u32>,
    /// The id of the first stream that has not begun.
    next_stream: Cell<u64>,
    /// How far apart the ids of a client's requests are, and where they begin.
    ids: Ids,
}

/// How a version numbers its requests' streams.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    first: u64,
    step: u64,
}

impl Ids {
    /// RFC 9113 section 5.1.1.
    pub(super) const HTTP2: Self = Self { first: 1, step: 2 };
    /// RFC 9000 section 2.1.
    pub(super) const HTTP3: Self = Self { first: 0, step: 4 };
}

impl Schedule {
    pub(super) fn new(ids: Ids) -> Self {
        Self {
            waiting: RefCell::default(),
            arrivals: Cell::default(),
            said: RefCell::default(),
            changes: Cell::default(),
            next_stream: Cell::new(ids.first),
            ids,
        }
    }

    /// A stream begins.
    #[inline]
    pub(super) fn begin(self: &Rc<Self>, stream: u64) -> Turn {
        self.next_stream
            .set(self.next_stream.get().max(stream + self.ids.step));
        Turn {
            schedule: self.clone(),
            stream,
            field: Cell::default(),
            of_server: RefCell::default(),
            // looked up when the rank is first asked for
            changes: Cell::new(0),
            rank: Cell::new(0),
            waits_as: Cell::default(),
            has_let_go_first: Cell::default(),
        }
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        (self.next_stream.get() - self.ids.first) / self.ids.step
    }

    /// The client changes its mind about a request (RFC 9218 section 7). False: there can be no request with that id, when
    /// so many may be under way.
    pub(super) fn update(&self, stream: u64, field: &[u8], max_streams: u32) -> bool {
        let Some(distance) = stream.checked_sub(self.ids.first) else {
            return false;
        };
        if distance % self.ids.step != 0 || distance / self.ids.step >= self.begun() + u64::from(max_streams)
        {
            return false;
        }
        let mut said = self.said.borrow_mut();
        said.insert(stream, Priority::default().and(field));
        if said.len() > REMEMBERED * max_streams as usize {
            said.pop_first();
        }
        self.changes.set(self.changes.get().wrapping_add(1));
        // which takes its new place
        for (_, waker) in self.waiting.borrow().values().filter(|(id, _)| *id == stream) {
            waker.wake_by_ref();
        }
        true
    }

    /// Whether any stream waits for room.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Wakes the first of those that wait.
    pub(super) fn wake_first(&self) {
        let first = self.waiting.borrow_mut().pop_first();
        if let Some((_, (_, waker))) = first {
            waker.wake();
        }
    }

    /// Wakes those that wait and are before that rank: whether there are any.
    fn wake_before(&self, rank: i32) -> bool {
        let waiting = self.waiting.borrow();
        let before = waiting.range(..(Reverse(rank), 0));
        before.map(|(_, (_, waker))| waker.wake_by_ref()).count() > 0
    }
}

/// One stream's place.
pub(super) struct Turn {
    schedule: Rc<Schedule>,
    stream: u64,
    /// What the request's field says, if no frame has said more.
    field: Cell<Option<Priority>>,
    /// What the response's field says, which changes what the client has said.
    of_server: RefCell<Vec<u8>>,
    /// Which of the schedule's changes the rank is of.
    changes: Cell<u32>,
    rank: Cell<i32>,
    waits_as: Cell<Option<Place>>,
    has_let_go_first: Cell<bool>,
}

impl Turn {
    /// What the request's fields say.
    pub(super) fn client_says(&self, fields: &HeaderMap) {
        let mut lines = fields.get_all(PRIORITY).into_iter().map(HeaderValue::as_bytes);
        if let Some(first) = lines.next() {
            let all = lines.fold(Priority::default().and(first), Priority::and);
            self.field.set(Some(all));
            self.set_rank();
        }
    }

    /// What the response's field says (RFC 9218 section 8).
    pub(super) fn server_says(&self, field: &[u8]) {
        self.of_server.replace(field.to_vec());
        self.set_rank();
    }

    /// The higher, the earlier; 0 for what nobody has said anything of.
    #[inline]
    pub(super) fn rank(&self) -> i32 {
        if self.changes.get() != self.schedule.changes.get() {
            self.changes.set(self.schedule.changes.get());
            self.set_rank();
        }
        self.rank.get()
    }

    fn set_rank(&self) {
        let update = self.schedule.said.borrow().get(&self.stream).copied();
        let client = update.or(self.field.get());
        let of_server = self.of_server.borrow();
        let is_told = client.is_some() || !of_server.is_empty();
        let priority = client.unwrap_or_default().and(&of_server);
        let usual = i32::from(Priority::default().urgency);
        let first = (usual - i32::from(priority.urgency)) * RANKS;
        let within = if priority.is_incremental || !is_told {
            0
        } else {
            // those behind the ones that there are ranks for share the last one's
            let number = i32::try_from(self.stream / self.schedule.ids.step).unwrap_or(i32::MAX);
            (RANKS - 1 - number).max(1)
        };
        self.rank.set(first + within);
    }

    /// Writes, unless others go first. `write` is pending while there is no room.
    pub(super) fn poll_write<T>(
        &self,
        context: &mut Context<'_>,
        write: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.has_let_go_first.get() && self.schedule.wake_before(self.rank()) {
            // they run before this does again; what they leave is this one's
            self.has_let_go_first.set(true);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_let_go_first.set(false);
        let written = write(context);
        self.stop_waiting();
        if written.is_pending() {
            self.wait(context);
        }
        written
    }

    /// Whether another that waits comes before this one.
    #[inline]
    pub(super) fn is_behind_others(&self) -> bool {
        let waiting = self.schedule.waiting.borrow();
        let Some((first, _)) = waiting.first_key_value() else {
            return false;
        };
        let rank = Reverse(self.rank());
        let own = self.waits_as.get().filter(|place| place.0 == rank);
        *first < own.unwrap_or((rank, u64::MAX))
    }

    /// Waits for room, in the place that it has had since it began to wait.
    pub(super) fn wait(&self, context: &Context<'_>) {
        let rank = Reverse(self.rank());
        let mut waiting = self.schedule.waiting.borrow_mut();
        let place = match self.waits_as.get() {
            Some(place) if place.0 == rank => place,
            other => {
                other.map(|place| waiting.remove(&place));
                let arrivals = self.schedule.arrivals.get() + 1;
                self.schedule.arrivals.set(arrivals);
                (rank, arrivals)
            }
        };
        self.waits_as.set(Some(place));
        waiting.insert(place, (self.stream, context.waker().clone()));
    }

    /// It goes, or needs no room.
    #[inline]
    pub(super) fn stop_waiting(&self) {
        if let Some(place) = self.waits_as.take() {
            self.schedule.waiting.borrow_mut().remove(&place);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop_waiting();
        let mut said = self.schedule.said.borrow_mut();
        if !said.is_empty() {
            said.remove(&self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http3() -> Rc<Schedule> {
        Rc::new(Schedule::new(Ids::HTTP3))
    }

    fn says(field: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(PRIORITY, HeaderValue::from_static(field))])
    }

    fn ranks(said: &[(u64, Option<&'static str>)]) -> Vec<u64> {
        let schedule = http3();
        let turns: Vec<_> = said
            .iter()
            .map(|(stream, field)| {
                let turn = schedule.begin(*stream);
                if let Some(field) = field {
                    turn.client_says(&says(field));
                }
                turn
            })
            .collect();
        let mut order: Vec<_> = turns
            .iter()
            .map(|turn| (Reverse(turn.rank()), turn.stream))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, stream)| stream).collect()
    }

    #[test]
    fn urgent_ones_come_first_and_whole_ones_before_those_that_share() {
        let said = [
            (0, Some("u=7")),
            (4, Some("u=3, i")),
            (8, Some("u=3")),
            (12, Some("u=0, i")),
            (16, Some("u=3")),
            (20, None),
        ];
        assert_eq!(ranks(&said), [12, 8, 16, 4, 20, 0]);
    }

    #[test]
    fn what_nobody_speaks_of_has_the_rank_of_quic() {
        assert_eq!(http3().begin(400).rank(), 0);
    }

    #[test]
    fn frames_count_for_more_than_the_field_and_the_server_for_more_than_both() {
        let schedule = http3();
        assert!(schedule.update(0, b"u=1, i", 8), "before the request");
        let turn = schedule.begin(0);
        turn.client_says(&says("u=6"));
        assert_eq!(turn.rank(), 2 * RANKS);
        assert!(schedule.update(0, b"u=5, i", 8));
        assert_eq!(turn.rank(), -2 * RANKS);
        turn.server_says(b"u=2");
        assert_eq!(turn.rank(), RANKS);
    }

    #[test]
    fn ids_of_no_request_are_refused_and_what_is_kept_is_bounded() {
        let schedule = http3();
        let turn = schedule.begin(0);
        assert!(![1, 2, 3, 36].into_iter().any(|id| schedule.update(id, b"u=1", 8)));
        assert!((1..9).all(|n| schedule.update(n * 4, b"u=1", 8)));
        assert_eq!(schedule.said.borrow().len(), 8);
        drop(turn);
        assert!(schedule.update(0, b"u=1", 8), "one that is over");
        for n in 0..100 {
            let _ = schedule.begin(n * 4);
            assert!(schedule.update(n * 4, b"u=1", 8));
        }
        assert!(schedule.said.borrow().len() <= 16);
        let http2 = Rc::new(Schedule::new(Ids::HTTP2));
        assert!(![0, 2, 17].into_iter().any(|id| http2.update(id, b"u=1", 8)));
        assert!([1, 3, 15].into_iter().all(|id| http2.update(id, b"u=1", 8)));
    }

    #[test]
    fn who_waits_with_a_higher_rank_goes_first_and_holds_nobody_up() {
        let schedule = http3();
        let (urgent, other) = (schedule.begin(0), schedule.begin(4));
        urgent.client_says(&says("u=0"));
        let mut context = Context::from_waker(Waker::noop());
        let full = |_: &mut Context<'_>| Poll::<()>::Pending;
        assert!(urgent.poll_write(&mut context, full).is_pending());
        let polled = other.poll_write(&mut context, |_| -> Poll<()> { panic!("the other goes first") });
        assert!(polled.is_pending());
        // which has no use for the room
        assert!(urgent.poll_write(&mut context, full).is_pending());
        assert!(other.poll_write(&mut context, |_| Poll::Ready(())).is_ready());
        drop(urgent);
        assert!(
            other.poll_write(&mut context, |_| Poll::Ready(())).is_ready(),
            "nobody waits"
        );
    }

    #[test]
    fn those_of_one_rank_take_turns_and_a_change_moves_who_waits() {
        let schedule = Rc::new(Schedule::new(Ids::HTTP2));
        let context = Context::from_waker(Waker::noop());
        let turns = [1, 3, 5].map(|stream| schedule.begin(stream));
        for turn in &turns {
            turn.wait(&context);
        }
        turns[0].wait(&context);
        assert_eq!(turns.each_ref().map(Turn::is_behind_others), [false, true, true]);
        turns[0].stop_waiting();
        assert!(turns[0].is_behind_others(), "it had its turn");
        assert!(!turns[1].is_behind_others());
        assert!(schedule.update(5, b"u=0", 8));
        turns[2].wait(&context);
        assert_eq!(turns.each_ref().map(Turn::is_behind_others), [true, true, false]);
        schedule.wake_first();
        assert!(schedule.has_waiting(), "the second of three");
    }
}
