//! Messages both ways, through the hooks.
//!
//! # How it works
//! One task polls both directions. A direction reads a message, has the hooks look at it ([`Batch`]), puts what they leave
//! into the other side's `out`, and reads the next one only when that is not full: so a side is read no faster than the
//! other takes, and one message of each direction is in the hooks at a time. A close goes the same way, behind the
//! messages before it. Whatever ends it otherwise (a fault, a hook, a limit, the gateway's own end) closes both sides with
//! a code; then both are read until they have responded, within `websocket.close_timeout`.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::snapshot::Phase;
use tungstenite::protocol::Role;

use super::batch::{Batch, HookFailed};
use super::side::{close_frame, Event, Fault, Side};
use super::timing::{Due, Timing};
use crate::failure::{Failure, FailureKind};
use crate::hooks::channel::Channel;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::message::{Message, Party};
use crate::state::connection::{Connection, Next};
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::Peer;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;

/// After so many messages in one turn the loop's other tasks have theirs.
const MESSAGES_A_TURN: u32 = 32;

/// RFC 6455 section 7.4.1.
const GOING_AWAY: u16 = 1001;
const INTERNAL_ERROR: u16 = 1011;

/// Carries messages between the client and `server` until both sides have ended.
pub(crate) async fn relay(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    server: &mut Peer,
    (channel, send_ms): (Rc<Channel>, u64),
) -> Next {
    let shared = connection.shared.clone();
    let _open = Open::begin(&shared);
    let settings = &tables.websocket;
    let hooks = exchange.route.get().map_or(&[][..], |route| {
        &tables.routes[route].hooks[Phase::WebSocketMessage]
    });
    connection.watch.disarm();
    let mut shutting_down = pin!(shared.shutting_down.notified());
    let mut relay = MessageRelay {
        client: Side::new(&mut connection.peer, Role::Server, settings),
        server: Side::new(server, Role::Client, settings),
        up: DirectionState::Reading,
        down: DirectionState::Reading,
        channel,
        exchange,
        tables,
        hooks,
        shared: &shared,
        watch: &connection.watch,
        timing: Timing::new(settings, send_ms, shared.clock.now_ms()),
        next: Next::Close,
    };
    poll_fn(|context| {
        if shared.is_shutting_down.get() || shutting_down.as_mut().poll(context).is_ready() {
            relay.close_both(Party::Gateway, GOING_AWAY, "the gateway is shutting down");
        }
        relay.poll(context)
    })
    .await;
    relay.channel.ended(Party::Gateway, None);
    let (received, written) = (relay.client.received, relay.client.written);
    exchange
        .request_bytes
        .set(exchange.request_bytes.get() + received);
    exchange
        .response_bytes
        .set(exchange.response_bytes.get() + written);
    relay.next
}

/// Counts a WebSocket until dropped.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.metrics.count(Counter::WebSockets);
        shared.metrics.count(Counter::WebSocketsActive);
        shared.websockets.set(shared.websockets.get() + 1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.sub(Counter::WebSocketsActive, 1);
        self.0.websockets.set(self.0.websockets.get() - 1);
    }
}

/// One direction.
enum DirectionState {
    Reading,
    Hooks(Box<Batch>),
    /// Nothing more goes this way; what comes is read for its end only.
    Ended,
}

struct MessageRelay<'a> {
    client: Side<'a>,
    server: Side<'a>,
    /// From the client.
    up: DirectionState,
    /// From the server.
    down: DirectionState,
    channel: Rc<Channel>,
    exchange: &'a Rc<Exchange>,
    tables: &'a Configuration,
    hooks: &'a [usize],
    shared: &'a Shared,
    watch: &'a Watched,
    timing: Timing,
    next: Next,
}

impl<'a> MessageRelay<'a> {
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
                self.close_both(Party::Gateway, code, &reason);
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
    fn take(&mut self, from: Party, event: Event) {
        match event {
            Event::Message(message) => {
                // the clock is right from here on, and other threads have had their turn
                let now_us = self.shared.begin_request(&*self.tables.hooks);
                self.timing.message(now_us / 1000);
                self.shared.metrics.count(Counter::WebSocketMessages);
                if let flow @ DirectionState::Reading = self.flow(from) {
                    *flow = DirectionState::Hooks(Box::new(Batch::new(from, message, now_us)));
                }
            }
            Event::Closed(frame) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                self.channel.ended(from, code);
                *self.flow(from) = DirectionState::Ended;
                self.other(from).end(frame);
                self.timing.closing(self.shared.clock.now_ms());
            }
            Event::Gone => {
                self.channel.ended(from, None);
                *self.flow(from) = DirectionState::Ended;
                self.side(from).cut();
                // one that was sent a close frame may still respond
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

    /// A peer broke the protocol; it has been sent a close frame.
    fn broken(&mut self, from: Party, fault: Fault) {
        let (code, failure) = if from == Party::Client {
            // it may still be sending, and must be able to read why
            self.next = Next::Linger;
            let failure = Failure::new(fault.kind(from), fault.reason());
            (GOING_AWAY, failure)
        } else {
            let failure = Failure::new(fault.kind(from), fault.reason());
            (INTERNAL_ERROR, failure)
        };
        self.exchange.failure.replace(Some(failure));
        self.shared.metrics.count(match fault.limit() {
            Some(limit) => {
                self.exchange.limit.set(limit);
                Counter::LimitWebSocketMessage
            }
            None => Counter::WebSocketFaults,
        });
        self.channel.ended(from, Some(fault.code()));
        self.close_both(from, code, "the other side broke the protocol");
    }

    fn hook_failed(&mut self) {
        let failure = Failure::new(FailureKind::HookFailed, "a hook could not handle a message");
        self.exchange.failure.replace(Some(failure));
        self.close_both(
            Party::Gateway,
            INTERNAL_ERROR,
            "the gateway could not handle a message",
        );
    }

    /// Closes whatever is open; messages that are with hooks are dropped.
    fn close_both(&mut self, by: Party, code: u16, reason: &str) {
        self.channel.ended(by, Some(code));
        (self.up, self.down) = (DirectionState::Ended, DirectionState::Ended);
        self.client.end(Some(close_frame(code, reason)));
        self.server.end(Some(close_frame(code, reason)));
        self.timing.closing(self.shared.clock.now_ms());
    }

    fn poll_deadlines(&mut self, context: &mut Context<'_>, moved: (bool, bool)) -> Poll<()> {
        let now_ms = self.shared.clock.now_ms();
        let (is_over, mut next_ms) = self.timing.whole(now_ms);
        match is_over {
            Some(Limit::WebSocketIdle) => {
                self.late(Limit::WebSocketIdle);
                self.close_both(Party::Gateway, GOING_AWAY, "nothing was said for too long");
                context.waker().wake_by_ref();
            }
            Some(limit) => {
                self.late(limit);
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
                Some(Due::Late(limit)) => {
                    self.late(limit);
                    // the peer is gone
                    self.side(party).give_up();
                    self.close_both(party, GOING_AWAY, "the other side is gone");
                    context.waker().wake_by_ref();
                }
            }
        }
        self.watch
            .arm(Limit::WebSocketIdle, next_ms.saturating_sub(now_ms));
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

    fn flow(&mut self, from: Party) -> &mut DirectionState {
        match from {
            Party::Client => &mut self.up,
            _ => &mut self.down,
        }
    }

    fn side(&mut self, party: Party) -> &mut Side<'a> {
        match party {
            Party::Client => &mut self.client,
            _ => &mut self.server,
        }
    }

    fn other(&mut self, party: Party) -> &mut Side<'a> {
        match party {
            Party::Client => &mut self.server,
            _ => &mut self.client,
        }
    }
}
