//! What a relay waits for, and for how long: all waits over the connection's one watch.

use std::task::{Context, Poll};

use super::codec::{Codec, Ending};
use super::relay::{DirectionState, MessageRelay};
use super::timing::{Due, Wait};
use crate::hooks::message::Party;
use headgate_net::limits::Limit;
use headgate_upstream::LimitCounter;

impl<C: Codec> MessageRelay<'_, C> {
    /// Does what is due; ready when the relay is given up. `moved`: which of client and server has taken something now.
    pub(super) fn poll_deadlines(&mut self, context: &mut Context<'_>, moved: (bool, bool)) -> Poll<()> {
        let now_ms = self.shared.clock.now_ms();
        if self.watch.is_over() {
            // once: the close is waited for as any other
            self.watch.bind(0);
            self.late(Limit::ServerDrain);
            self.close_both(Party::Gateway, Ending::ServerRemoved);
            context.waker().wake_by_ref();
        }
        let (is_over, mut next_ms) = self.timing.whole(now_ms);
        match is_over {
            Some(Wait::Message) => {
                self.late(C::NAMES.idle);
                self.close_both(Party::Gateway, Ending::Idle);
                context.waker().wake_by_ref();
            }
            Some(Wait::Close) => {
                self.late(C::NAMES.close);
                return Poll::Ready(());
            }
            None => {}
        }
        for (party, has_moved) in [(Party::Client, moved.0), (Party::Server, moved.1)] {
            let is_read = self.is_read(party);
            let side = self.side(party);
            let (received, unsent, is_open) = (side.received, side.unsent(), side.is_open());
            let liveness = self.timing.of(party);
            liveness.on_received(received, is_read, now_ms);
            liveness.blocked(unsent > 0, has_moved, now_ms);
            let (due, at_ms) = self.timing.side(party, is_read && is_open, now_ms);
            next_ms = next_ms.min(at_ms);
            match due {
                None => {}
                Some(Due::Ping) => {
                    self.side(party).ping();
                    context.waker().wake_by_ref();
                }
                Some(due) => {
                    self.late(if due == Due::TakenTooLate {
                        Limit::Send
                    } else {
                        C::NAMES.ping
                    });
                    if party == Party::Server {
                        self.server_is_late();
                    }
                    // the peer is gone
                    self.side(party).give_up();
                    self.close_both(party, Ending::PeerGone);
                    context.waker().wake_by_ref();
                }
            }
        }
        self.watch.arm(C::NAMES.idle, next_ms.saturating_sub(now_ms));
        self.watch.register(context);
        Poll::Pending
    }

    fn late(&self, limit: Limit) {
        self.shared.metrics.count(limit.counter());
        self.exchange.limit.set(limit.name());
    }

    /// Whether the side is read now: neither a hook nor the other side holds its direction up.
    fn is_read(&self, party: Party) -> bool {
        let (flow, target) = match party {
            Party::Client => (&self.up, &self.server),
            _ => (&self.down, &self.client),
        };
        match flow {
            DirectionState::Reading => !target.is_full(),
            DirectionState::Hooks(_) => false,
            DirectionState::Ended => true,
        }
    }
}
