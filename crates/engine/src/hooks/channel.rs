//! What hooks hold of a WebSocket: messages of their own for either side, and its end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

use super::message::{Message, Party};
use headgate_net::virtual_stream::{remember, wake};

/// See the module. It outlives the WebSocket where users keep it.
pub struct Channel {
    to_client: RefCell<VecDeque<Message>>,
    to_server: RefCell<VecDeque<Message>>,
    queued_bytes: Cell<usize>,
    max_queued_bytes: usize,
    order: RefCell<Option<(u16, String)>>,
    end: Cell<Option<End>>,
    relay: RefCell<Option<Waker>>,
}

/// How a WebSocket ended.
#[derive(Clone, Copy)]
struct End {
    by: Party,
    code: Option<u16>,
}

/// More waits to be sent than `websocket.max_queued_bytes`, or the WebSocket has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFull {
    /// The peers take too slowly.
    Full,
    /// There is no peer.
    Ended,
}

/// A code or reason that no close frame can carry (RFC 6455 sections 5.5 and 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseRefused {
    /// The code is one that is never sent.
    #[error(
        "this code is not allowed in a close frame\nhint: 1000, 1001, 1003, 1007 to 1014, or 3000 to 4999"
    )]
    Code,
    /// The reason is too long.
    #[error("the reason is longer than 123 bytes of UTF-8")]
    Reason,
}

impl Channel {
    pub(crate) fn new(max_queued_bytes: usize) -> Self {
        Self {
            to_client: RefCell::default(),
            to_server: RefCell::default(),
            queued_bytes: Cell::new(0),
            max_queued_bytes,
            order: RefCell::new(None),
            end: Cell::new(None),
            relay: RefCell::new(None),
        }
    }

    /// Leaves a message for one side; before the WebSocket is open it is sent first then.
    ///
    /// # Errors
    /// It is not taken: see [`QueueFull`].
    pub fn send(&self, to: Party, message: Message) -> Result<(), QueueFull> {
        if self.end.get().is_some() || self.order.borrow().is_some() {
            return Err(QueueFull::Ended);
        }
        let queued = self.queued_bytes.get().saturating_add(message.len());
        if queued > self.max_queued_bytes {
            return Err(QueueFull::Full);
        }
        self.queued_bytes.set(queued);
        self.queue(to).borrow_mut().push_back(message);
        wake(&mut self.relay.borrow_mut());
        Ok(())
    }

    /// Closes it, both sides, with a code and a reason. The first order counts.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), CloseRefused> {
        if !matches!(code, 1000 | 1001 | 1003 | 1007..=1014 | 3000..=4999) {
            return Err(CloseRefused::Code);
        }
        if reason.len() > 123 {
            return Err(CloseRefused::Reason);
        }
        self.order
            .borrow_mut()
            .get_or_insert_with(|| (code, reason.to_owned()));
        wake(&mut self.relay.borrow_mut());
        Ok(())
    }

    /// Whether messages may still be sent.
    pub fn is_open(&self) -> bool {
        self.end.get().is_none() && self.order.borrow().is_none()
    }

    /// Who ended it; `None` while it has not ended.
    pub fn closed_by(&self) -> Option<Party> {
        self.end.get().map(|end| end.by)
    }

    /// The code it was closed with, if there was one.
    pub fn close_code(&self) -> Option<u16> {
        self.end.get().and_then(|end| end.code)
    }

    /// The next message of a hook's own for one side.
    pub(crate) fn take(&self, to: Party) -> Option<Message> {
        let message = self.queue(to).borrow_mut().pop_front()?;
        self.queued_bytes.set(self.queued_bytes.get() - message.len());
        Some(message)
    }

    /// The order to close, if there is one.
    pub(crate) fn order(&self) -> Option<(u16, String)> {
        self.order.borrow().clone()
    }

    /// Notes who ended it first.
    pub(crate) fn ended(&self, by: Party, code: Option<u16>) {
        if self.end.get().is_none() {
            self.end.set(Some(End { by, code }));
            self.to_client.take();
            self.to_server.take();
            self.queued_bytes.set(0);
        }
    }

    /// Has the relay's task woken when a hook leaves something here.
    pub(crate) fn register(&self, context: &Context<'_>) {
        remember(&mut self.relay.borrow_mut(), context);
    }

    fn queue(&self, to: Party) -> &RefCell<VecDeque<Message>> {
        match to {
            Party::Client => &self.to_client,
            Party::Server | Party::Gateway => &self.to_server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Message {
        Message::Binary(vec![0; length].into())
    }

    #[test]
    fn queue_is_bounded_over_both_sides() {
        let channel = Channel::new(10);
        assert_eq!(channel.send(Party::Client, bytes(6)), Ok(()));
        assert_eq!(channel.send(Party::Server, bytes(5)), Err(QueueFull::Full));
        assert_eq!(channel.take(Party::Client), Some(bytes(6)));
        assert_eq!(channel.send(Party::Server, bytes(10)), Ok(()));
    }

    #[test]
    fn nothing_is_taken_after_its_end() {
        let channel = Channel::new(10);
        assert_eq!(channel.send(Party::Client, bytes(1)), Ok(()));
        channel.ended(Party::Client, Some(4000));
        channel.ended(Party::Server, None);
        assert_eq!(channel.send(Party::Client, bytes(1)), Err(QueueFull::Ended));
        assert_eq!(channel.take(Party::Client), None);
        assert_eq!(
            (channel.closed_by(), channel.close_code()),
            (Some(Party::Client), Some(4000))
        );
    }

    #[test]
    fn only_what_a_frame_can_carry_closes() {
        let channel = Channel::new(0);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(channel.close(code, ""), Err(CloseRefused::Code), "{code}");
        }
        assert_eq!(channel.close(1008, &"x".repeat(124)), Err(CloseRefused::Reason));
        assert_eq!(channel.close(4000, "first"), Ok(()));
        assert_eq!(channel.close(4001, "second"), Ok(()));
        assert_eq!(channel.order(), Some((4000, "first".into())));
        assert!(!channel.is_open());
    }
}
