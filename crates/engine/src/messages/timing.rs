//! How long the sides of a relay may take for what; times are passed in.

use crate::hooks::message::Party;

/// How long the sides may take, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Until a silent side is asked whether it is there, and then to respond; 0 for never.
    pub(super) ping: u64,
    /// Without a message.
    pub(super) idle: u64,
    /// For the reply to a close.
    pub(super) close: u64,
    /// To take some of what is written.
    pub(super) send: u64,
}

/// Waits of one relay; times are milliseconds of the worker's clock.
pub(super) struct Timing {
    bounds: Bounds,
    /// When a message last came, from either side.
    message_ms: u64,
    /// When the first close was sent.
    closing_ms: Option<u64>,
    client: Liveness,
    server: Liveness,
}

/// Whether a side is there.
pub(super) struct Liveness {
    /// When it last sent anything.
    heard_ms: u64,
    received: u64,
    /// When it was pinged, if it has sent nothing since.
    asked_ms: Option<u64>,
    /// Since when it has not taken anything.
    blocked_ms: Option<u64>,
}

/// What is due after a wait that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Ask the side whether it is there.
    Ping,
    /// Give it up: it has not responded when it was asked.
    RespondedTooLate,
    /// Give it up: it has taken nothing.
    TakenTooLate,
}

/// A wait that bounds both sides together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// For a message.
    Message,
    /// For the replies to a close.
    Close,
}

impl Timing {
    pub(super) fn new(bounds: Bounds, now_ms: u64) -> Self {
        let liveness = || Liveness {
            heard_ms: now_ms,
            received: 0,
            asked_ms: None,
            blocked_ms: None,
        };
        Self {
            bounds,
            message_ms: now_ms,
            closing_ms: None,
            client: liveness(),
            server: liveness(),
        }
    }

    /// A message came.
    pub(super) fn message(&mut self, now_ms: u64) {
        self.message_ms = now_ms;
    }

    /// A close was sent; the first counts.
    pub(super) fn closing(&mut self, now_ms: u64) {
        self.closing_ms.get_or_insert(now_ms);
    }

    /// What bounds both sides together: whether it is over, and when it will be.
    pub(super) fn whole(&self, now_ms: u64) -> (Option<Wait>, u64) {
        let (wait, at) = match self.closing_ms {
            Some(began) => (Wait::Close, began.saturating_add(self.bounds.close)),
            None => (Wait::Message, self.message_ms.saturating_add(self.bounds.idle)),
        };
        ((now_ms >= at).then_some(wait), at)
    }

    /// What is known of one side.
    pub(super) fn of(&mut self, party: Party) -> &mut Liveness {
        match party {
            Party::Client => &mut self.client,
            Party::Server | Party::Gateway => &mut self.server,
        }
    }

    /// What is due on one side, and when the next thing is. `is_asked`: pings make sense now.
    pub(super) fn side(&mut self, party: Party, is_asked: bool, now_ms: u64) -> (Option<Due>, u64) {
        let Bounds { ping, send, .. } = self.bounds;
        let side = self.of(party);
        let blocked = side
            .blocked_ms
            .map_or(u64::MAX, |since| since.saturating_add(send));
        if now_ms >= blocked {
            return (Some(Due::TakenTooLate), blocked);
        }
        if ping == 0 || !is_asked {
            return (None, blocked);
        }
        let at = side.asked_ms.unwrap_or(side.heard_ms).saturating_add(ping);
        if now_ms < at {
            return (None, at.min(blocked));
        }
        if side.asked_ms.is_some() {
            return (Some(Due::RespondedTooLate), at);
        }
        side.asked_ms = Some(now_ms);
        (Some(Due::Ping), now_ms.saturating_add(ping).min(blocked))
    }
}

impl Liveness {
    /// Takes note of what the side has sent, in bytes so far. One that is not read (`is_read`) is not blamed for silence.
    pub(super) fn on_received(&mut self, received: u64, is_read: bool, now_ms: u64) {
        if received != self.received || !is_read {
            self.received = received;
            self.heard_ms = now_ms;
            self.asked_ms = None;
        }
    }

    /// Takes note of whether something waits to be taken, and was just taken.
    pub(super) fn blocked(&mut self, is_blocked: bool, has_moved: bool, now_ms: u64) {
        if !is_blocked {
            self.blocked_ms = None;
        } else if has_moved || self.blocked_ms.is_none() {
            self.blocked_ms = Some(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> Timing {
        let bounds = Bounds {
            ping: 20,
            idle: 100,
            close: 10,
            send: 60,
        };
        Timing::new(bounds, 0)
    }

    #[test]
    fn silent_side_is_asked_and_then_given_up() {
        let mut timing = timing();
        assert_eq!(timing.side(Party::Client, true, 19), (None, 20));
        assert_eq!(timing.side(Party::Client, true, 20), (Some(Due::Ping), 40));
        assert_eq!(timing.side(Party::Client, true, 39), (None, 40));
        assert_eq!(
            timing.side(Party::Client, true, 40).0,
            Some(Due::RespondedTooLate)
        );
    }

    #[test]
    fn any_byte_counts_as_a_pong() {
        let mut timing = timing();
        assert_eq!(timing.side(Party::Server, true, 20).0, Some(Due::Ping));
        timing.server.on_received(2, true, 30);
        assert_eq!(timing.side(Party::Server, true, 40), (None, 50));
    }

    #[test]
    fn side_that_is_not_read_is_not_blamed() {
        let mut timing = timing();
        assert_eq!(timing.side(Party::Client, true, 20).0, Some(Due::Ping));
        timing.client.on_received(0, false, 90);
        assert_eq!(timing.side(Party::Client, true, 91), (None, 110));
    }

    #[test]
    fn silence_of_both_and_a_close_without_a_reply_end_it() {
        let mut timing = timing();
        assert_eq!(timing.whole(99), (None, 100));
        timing.message(50);
        assert_eq!(timing.whole(149), (None, 150));
        assert_eq!(timing.whole(150).0, Some(Wait::Message));
        timing.closing(150);
        timing.closing(155);
        assert_eq!(timing.whole(159), (None, 160));
        assert_eq!(timing.whole(160).0, Some(Wait::Close));
    }

    #[test]
    fn side_that_takes_nothing_is_given_up() {
        let mut timing = timing();
        timing.client.blocked(true, false, 0);
        timing.client.on_received(0, false, 59);
        assert_eq!(timing.side(Party::Client, true, 59), (None, 60));
        timing.client.blocked(true, true, 59);
        assert_eq!(timing.side(Party::Client, false, 118), (None, 119));
        assert_eq!(timing.side(Party::Client, false, 119).0, Some(Due::TakenTooLate));
    }
}
