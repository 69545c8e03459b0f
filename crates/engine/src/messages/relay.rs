//! Messages both ways, through the hooks.
//!
//! # How it works
//! One task polls both directions. A direction reads a message, has the hooks look at it ([`Batch`]), puts what they leave
//! into the other side's `out`, and reads the next one only when that is not full: so a side is read no faster than the
//! other takes, and one message of each direction is in the hooks at a time. A close goes the same way, behind the
//! messages before it. Whatever ends it otherwise (a fault, a hook, a limit, the gateway's own end) closes both sides with
//! a code ([`super::endings`]); then both are read until they have responded, within the protocol's limit
//! ([`super::waits`]).

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::batch::{Batch, HookFailed};
use super::codec::{Close, Codec, Ending, Event};
use super::side::Side;
use super::timing::Timing;
use crate::hooks::channel::Channel;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::message::{Message, Party};
use crate::state::connection::Next;
use crate::state::Shared;
use headgate_net::deadline::Watched;

/// After so many messages in one turn the loop's other tasks have theirs.
const MESSAGES_A_TURN: u32 = 32;

/// Between whom messages pass, and who looks at them.
pub(super) struct MessageRelay<'a, C> {
    pub(super) client: Side<'a, C>,
    pub(super) server: Side<'a, C>,
    /// From the client.
    pub(super) up: DirectionState,
    /// From the server.
    pub(super) down: DirectionState,
    pub(super) channel: Rc<Channel>,
    pub(super) exchange: &'a Rc<Exchange>,
    pub(super) tables: &'a Configuration,
    pub(super) hooks: &'a [usize],
    pub(super) shared: &'a Shared,
    pub(super) watch: &'a Watched,
    pub(super) timing: Timing,
    /// What becomes of the client's connection.
    pub(super) next: Next,
}

/// One direction.
pub(super) enum DirectionState {
    Reading,
    Hooks(Box<Batch>),
    /// Nothing more goes this way; what comes is read for its end only.
    Ended,
}

impl<'a, C: Codec> MessageRelay<'a, C> {
    /// Carries messages until both sides have ended, and notes in the exchange how many bytes they were.
    pub(super) async fn run(mut self) -> Next {
        let shared = self.shared;
        self.watch.disarm();
        let mut shutting_down = pin!(shared.shutting_down.notified());
        poll_fn(|context| {
            if shared.is_shutting_down.get() || shutting_down.as_mut().poll(context).is_ready() {
                self.close_both(Party::Gateway, Ending::ShuttingDown);
            }
            self.poll(context)
        })
        .await;
        self.channel.ended(Party::Gateway, None);
        let (up, down) = (&self.exchange.request_bytes, &self.exchange.response_bytes);
        up.set(up.get() + self.client.received);
        down.set(down.get() + self.client.written);
        self.next
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.is_closed.get() {
            return Poll::Ready(());
        }
        self.channel.register(context);
        self.send_hook_messages();
        let mut left = MESSAGES_A_TURN;
        self.poll_direction(Party::Client, context, &mut left);
        self.poll_direction(Party::Server, context, &mut left);
        self.handle_close_order();
        let were_full = (self.client.is_full(), self.server.is_full());
        let moved = (self.client.poll_flush(context), self.server.poll_flush(context));
        if self.client.is_shut() && self.server.is_shut() {
            return Poll::Ready(());
        }
        let has_room = (were_full.0 && !self.client.is_full()) || (were_full.1 && !self.server.is_full());
        if left == 0 || has_room {
            context.waker().wake_by_ref();
        }
        self.poll_deadlines(context, moved)
    }

    /// Moves what hooks have sent of their own.
    fn send_hook_messages(&mut self) {
        for (to, side) in [
            (Party::Client, &mut self.client),
            (Party::Server, &mut self.server),
        ] {
            while side.is_open() && !side.is_full() {
                let Some(message) = self.channel.take(to) else {
                    break;
                };
                side.send(message);
            }
        }
    }

    /// Does what a hook has ordered.
    fn handle_close_order(&mut self) {
        if self.client.is_open() || self.server.is_open() {
            if let Some((code, reason)) = self.channel.order() {
                self.send_hook_messages();
                self.close_both_with(Party::Gateway, &Close::new(code, &reason));
            }
        }
    }

    fn poll_direction(&mut self, from: Party, context: &mut Context<'_>, left: &mut u32) {
        while *left > 0 {
            let (source, target, flow) = match from {
                Party::Client => (&mut self.client, &mut self.server, &mut self.up),
                _ => (&mut self.server, &mut self.client, &mut self.down),
            };
            match flow {
                DirectionState::Reading if target.is_full() => return source.peer.settle(),
                DirectionState::Reading | DirectionState::Ended => match source.poll_event(context) {
                    Poll::Ready(event) => {
                        *left -= 1;
                        self.take(from, event);
                    }
                    Poll::Pending => return,
                },
                DirectionState::Hooks(batch) => {
                    match batch.poll(context, self.exchange, self.tables, self.hooks) {
                        Poll::Ready(Ok(messages)) => {
                            *flow = DirectionState::Reading;
                            self.pass(from, messages);
                        }
                        Poll::Ready(Err(HookFailed)) => self.hook_failed(),
                        Poll::Pending if source.is_disconnected(context) => self.take(from, Event::Gone),
                        Poll::Pending => return,
                    }
                }
            }
        }
    }

    /// What came from a side.
    fn take(&mut self, from: Party, event: Event<C::Fault>) {
        match event {
            Event::Message(message) => {
                // the clock is right from here on, and other threads have had their turn
                let now_us = self.shared.begin_request(&*self.tables.hooks);
                self.timing.message(now_us / 1000);
                self.shared.metrics.count(C::NAMES.messages);
                if let flow @ DirectionState::Reading = self.flow(from) {
                    *flow = DirectionState::Hooks(Box::new(Batch::new(from, message, now_us)));
                }
            }
            Event::Closed(close) => {
                let code = close.as_ref().map(|close| close.code);
                self.channel.ended(from, code);
                *self.flow(from) = DirectionState::Ended;
                self.other(from).end(close);
                self.timing.closing(self.shared.clock.now_ms());
            }
            Event::Gone => {
                if from == Party::Server {
                    self.server_is_gone();
                }
                self.channel.ended(from, None);
                *self.flow(from) = DirectionState::Ended;
                self.side(from).cut();
                // one that was sent a close may still respond
                if self.other(from).is_open() {
                    self.other(from).cut();
                }
            }
            Event::Broken(fault) => self.broken(from, fault),
        }
    }

    /// What the hooks left of a message.
    fn pass(&mut self, from: Party, messages: impl IntoIterator<Item = Message>) {
        self.send_hook_messages();
        self.handle_close_order();
        for message in messages {
            self.other(from).send(message);
        }
    }

    fn flow(&mut self, from: Party) -> &mut DirectionState {
        match from {
            Party::Client => &mut self.up,
            _ => &mut self.down,
        }
    }

    pub(super) fn side(&mut self, party: Party) -> &mut Side<'a, C> {
        match party {
            Party::Client => &mut self.client,
            _ => &mut self.server,
        }
    }

    fn other(&mut self, party: Party) -> &mut Side<'a, C> {
        match party {
            Party::Client => &mut self.server,
            _ => &mut self.client,
        }
    }
}
