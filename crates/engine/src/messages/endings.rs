//! How a relay ends, other than by a peer that closes.

use super::codec::{Close, Codec, Ending, Fault};
use super::relay::{DirectionState, MessageRelay};
use crate::failure::{Failure, FailureKind};
use crate::hooks::message::Party;
use crate::state::connection::Next;
use crate::state::server_failures::log_server_failure;

impl<C: Codec> MessageRelay<'_, C> {
    /// A peer broke the protocol; it has been sent a close.
    pub(super) fn broken(&mut self, from: Party, fault: C::Fault) {
        let ending = if from == Party::Client {
            // it may still be sending, and must be able to read why
            self.next = Next::Linger;
            Ending::ClientBroke
        } else {
            Ending::ServerBroke
        };
        self.failed(fault.failure(from));
        self.shared.metrics.count(match fault.limit() {
            Some(limit) => {
                self.exchange.limit.set(limit);
                C::NAMES.limited
            }
            None => C::NAMES.faults,
        });
        self.channel.ended(from, Some(fault.close().code));
        self.close_both(from, ending);
    }

    /// The server has left without a close, and nobody had begun one.
    pub(super) fn server_is_gone(&mut self) {
        if self.client.is_open() {
            self.server_failed(
                FailureKind::UpstreamTruncated,
                "the server closed the connection without a close message",
            );
        }
    }

    /// The server is silent, or takes nothing.
    pub(super) fn server_is_late(&mut self) {
        self.server_failed(
            FailureKind::UpstreamIdleTimeout,
            "the server neither responds to pings nor takes messages",
        );
    }

    fn server_failed(&mut self, kind: FailureKind, message: &'static str) {
        // a hook that holds the conversation itself is no server
        if self.exchange.server.get().is_some() {
            self.failed(Failure::new(kind, message));
        }
    }

    fn failed(&self, failure: Failure) {
        log_server_failure(self.shared, self.exchange, &failure);
        self.exchange.failure.replace(Some(failure));
    }

    /// A hook failed, closed.
    pub(super) fn hook_failed(&mut self) {
        let failure = Failure::new(FailureKind::HookFailed, "a hook could not handle a message");
        self.failed(failure);
        self.close_both(Party::Gateway, Ending::HookFailed);
    }

    /// Closes whatever is open; messages that are with hooks are dropped.
    pub(super) fn close_both(&mut self, by: Party, ending: Ending) {
        self.close_both_with(by, &Close::new(C::code(ending), ending.reason()));
    }

    /// The same with a code and a reason of a hook's own.
    pub(super) fn close_both_with(&mut self, by: Party, close: &Close) {
        self.channel.ended(by, Some(close.code));
        (self.up, self.down) = (DirectionState::Ended, DirectionState::Ended);
        self.client.end(Some(close.clone()));
        self.server.end(Some(close.clone()));
        self.timing.closing(self.shared.clock.now_ms());
    }
}
