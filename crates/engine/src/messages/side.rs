//! One side of a relay: its protocol's state, and what waits to be written.
//!
//! # How it works
//! The codec reads through a [`Wire`], which gives it what the peer has, and writes into `out`, which takes everything. `out`
//! is bounded by who calls: nothing is read for a side whose `out` is full, not even what the protocol replies to by itself,
//! and no message is put there.

use std::task::{Context, Poll};

use super::codec::{Close, Codec, Event, Fault, Wire};
use crate::hooks::message::Message;
use crate::http::h1::disconnect::DisconnectWatcher;
use headgate_net::peer::Peer;

/// With so much unsent a side is full.
const FULL_BYTES: usize = 64 * 1024;

/// See the module.
pub(super) struct Side<'a, C> {
    pub(super) peer: &'a mut Peer,
    codec: C,
    out: Vec<u8>,
    sent: usize,
    state: SideState,
    /// Bytes read and written.
    pub(super) received: u64,
    pub(super) written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SideState {
    Open,
    /// A close was sent; the peer's is awaited.
    Closing,
    /// Nothing more is read; what waits is still written.
    Ended,
    /// And it was.
    Shut,
}

impl<'a, C: Codec> Side<'a, C> {
    /// The gateway's end towards a peer.
    pub(super) fn new(peer: &'a mut Peer, codec: C) -> Self {
        Self {
            peer,
            codec,
            out: Vec::new(),
            sent: 0,
            state: SideState::Open,
            received: 0,
            written: 0,
        }
    }

    /// Whether messages may be sent to it.
    pub(super) fn is_open(&self) -> bool {
        self.state == SideState::Open
    }

    /// Whether nothing is left to do with it.
    pub(super) fn is_shut(&self) -> bool {
        self.state == SideState::Shut
    }

    /// Whether the peer must take something before more is put here.
    pub(super) fn is_full(&self) -> bool {
        self.unsent() >= FULL_BYTES
    }

    /// Bytes that the peer has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// What comes next. After anything but a message nothing more comes.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event<C::Fault>> {
        while matches!(self.state, SideState::Open | SideState::Closing) {
            if self.is_full() {
                // its own responses to pings: whoever does not take them is read no further
                return Poll::Pending;
            }
            let mut wire = Wire {
                peer: self.peer,
                out: &mut self.out,
                context,
                received: &mut self.received,
            };
            let event = match self.codec.poll_next(&mut wire) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => continue,
                // what was on its way when the gateway closed
                Poll::Ready(Some(Event::Message(_))) if self.state == SideState::Closing => continue,
                Poll::Ready(Some(event)) => event,
            };
            match &event {
                Event::Message(_) => {}
                Event::Closed(_) => {
                    self.codec.reply_to_close(&mut self.out);
                    self.state = SideState::Ended;
                }
                Event::Broken(fault) => self.close(Some(fault.close()), SideState::Ended),
                Event::Gone => self.state = SideState::Ended,
            }
            return Poll::Ready(event);
        }
        Poll::Pending
    }

    /// Puts a message into `out`.
    pub(super) fn send(&mut self, message: Message) {
        if self.is_open() {
            self.codec.write(message, &mut self.out);
        }
    }

    /// Asks whether the peer is there.
    pub(super) fn ping(&mut self) {
        if self.is_open() {
            self.codec.ping(&mut self.out);
        }
    }

    /// Sends a close and awaits the peer's, unless it is past that.
    pub(super) fn end(&mut self, close: Option<Close>) {
        if self.is_open() {
            self.close(close, SideState::Closing);
        }
    }

    /// Ends without a close once everything is written: the peer shall see that it was cut.
    pub(super) fn cut(&mut self) {
        if self.state != SideState::Shut {
            self.state = SideState::Ended;
        }
    }

    /// Ends at once: the peer is gone.
    pub(super) fn give_up(&mut self) {
        self.drop_unsent();
        self.state = SideState::Shut;
    }

    /// Whether the connection turns out to be broken, checked without reading from it.
    pub(super) fn is_disconnected(&mut self, context: &mut Context<'_>) -> bool {
        // an end may stand behind messages that were not read yet
        DisconnectWatcher::new(true).poll(context, self.peer)
    }

    fn close(&mut self, close: Option<Close>, next: SideState) {
        self.codec.close(close, &mut self.out);
        self.state = next;
    }

    /// Writes what waits, and shuts down the sending side where nothing more comes. True: something was written.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> bool {
        let before = self.written;
        while self.unsent() > 0 {
            match self.peer.stream.poll_write(context, &self.out[self.sent..], &[]) {
                Poll::Ready(Ok(n)) => {
                    self.sent += n;
                    self.written += n as u64;
                }
                Poll::Ready(Err(_)) => {
                    self.drop_unsent();
                    self.state = SideState::Shut;
                }
                Poll::Pending => return self.written > before,
            }
        }
        self.drop_unsent();
        if self.state == SideState::Ended && self.peer.stream.poll_shutdown(context).is_ready() {
            self.state = SideState::Shut;
        }
        self.written > before
    }

    fn drop_unsent(&mut self) {
        self.sent = 0;
        self.out.clear();
        if self.out.capacity() > FULL_BYTES {
            self.out = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::hooks::message::Party;
    use crate::messages::codec::{Ending, Names};
    use headgate_net::limits::Limit;
    use headgate_net::stream::Stream;
    use headgate_net::virtual_stream::{virtual_pair, Duplex, VirtualEnd};
    use headgate_shared::metrics::Counter;
    use std::task::{ready, Waker};

    /// A protocol whose messages are lines: `bye` closes, `.` asks for nothing, and an empty line is wrong.
    struct Lines;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct EmptyLine;

    impl Codec for Lines {
        type Fault = EmptyLine;

        const NAMES: Names = Names {
            messages: Counter::WebSocketMessages,
            faults: Counter::WebSocketFaults,
            limited: Counter::LimitWebSocketMessage,
            idle: Limit::TcpIdle,
            ping: Limit::TcpIdle,
            close: Limit::Linger,
        };

        fn poll_next(&mut self, wire: &mut Wire<'_, '_>) -> Poll<Option<Event<EmptyLine>>> {
            let Ok(unread) = ready!(wire.poll_unread()) else {
                return Poll::Ready(Some(Event::Gone));
            };
            let Some(end) = unread.iter().position(|byte| *byte == b'\n') else {
                return Poll::Ready(Some(Event::Gone));
            };
            let line = unread[..end].to_vec();
            wire.consume(end + 1);
            Poll::Ready(match &line[..] {
                b"" => Some(Event::Broken(EmptyLine)),
                b"." => None,
                b"bye" => Some(Event::Closed(None)),
                _ => Some(Event::Message(Message::Binary(line.into()))),
            })
        }

        fn write(&mut self, message: Message, out: &mut Vec<u8>) {
            if let Message::Binary(line) = message {
                out.extend_from_slice(&line);
            }
            out.push(b'\n');
        }

        fn ping(&mut self, out: &mut Vec<u8>) {
            out.extend_from_slice(b".\n");
        }

        fn close(&mut self, close: Option<Close>, out: &mut Vec<u8>) {
            out.extend_from_slice(
                close
                    .map_or_else(String::new, |close| close.reason.to_string())
                    .as_bytes(),
            );
            out.push(b'\n');
        }

        fn reply_to_close(&mut self, out: &mut Vec<u8>) {
            out.extend_from_slice(b"bye\n");
        }

        fn code(_: Ending) -> u16 {
            0
        }
    }

    impl Fault for EmptyLine {
        fn close(self) -> Close {
            Close::new(1, "empty")
        }

        fn failure(self, _: Party) -> Failure {
            Failure::client_disconnected()
        }

        fn limit(self) -> Option<&'static str> {
            None
        }
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn connected() -> (Peer, VirtualEnd) {
        let (ours, theirs) = virtual_pair();
        (
            Peer::new(Stream::Virtual(Box::new(ours)), std::rc::Rc::default()),
            theirs,
        )
    }

    fn say(peer: &mut VirtualEnd, text: &[u8]) {
        assert!(Duplex::poll_write(peer, &mut context(), text, &[]).is_ready());
    }

    /// What is there to be read, in bytes.
    fn hear(peer: &mut VirtualEnd) -> Vec<u8> {
        let mut heard = Vec::new();
        while let Poll::Ready(Ok(1..)) = Duplex::poll_read(peer, &mut context(), &mut heard, 4096) {}
        heard
    }

    fn line(side: &mut Side<'_, Lines>) -> Option<String> {
        match side.poll_event(&mut context()) {
            Poll::Ready(Event::Message(Message::Binary(line))) => {
                Some(String::from_utf8_lossy(&line).into_owned())
            }
            _ => None,
        }
    }

    #[test]
    fn a_side_whose_peer_takes_nothing_is_not_read() {
        let (mut peer, mut theirs) = connected();
        let mut side = Side::new(&mut peer, Lines);
        say(&mut theirs, b".\none\ntwo\n");
        assert_eq!(line(&mut side).as_deref(), Some("one"));
        side.send(Message::Binary(vec![b'x'; FULL_BYTES].into()));
        assert!(side.is_full());
        assert_eq!(line(&mut side), None);
        let mut taken = 0;
        while side.unsent() > 0 {
            assert!(side.poll_flush(&mut context()));
            taken += hear(&mut theirs).len();
        }
        assert_eq!(taken, FULL_BYTES + 1);
        assert_eq!(line(&mut side).as_deref(), Some("two"));
        assert_eq!((side.received, side.written), (10, FULL_BYTES as u64 + 1));
    }

    #[test]
    fn what_was_on_its_way_when_the_gateway_closed_is_dropped() {
        let (mut peer, mut theirs) = connected();
        let mut side = Side::new(&mut peer, Lines);
        side.end(Some(Close::new(1, "over")));
        say(&mut theirs, b"late\nbye\nafter\n");
        assert!(matches!(
            side.poll_event(&mut context()),
            Poll::Ready(Event::Closed(None))
        ));
        assert!(side.poll_event(&mut context()).is_pending());
        side.send(Message::Binary(vec![b'x'].into()));
        side.poll_flush(&mut context());
        assert_eq!(hear(&mut theirs), b"over\nbye\n");
        assert!(side.is_shut());
    }

    #[test]
    fn a_peer_that_breaks_the_protocol_is_told_and_read_no_further() {
        let (mut peer, mut theirs) = connected();
        let mut side = Side::new(&mut peer, Lines);
        say(&mut theirs, b"\nmore\n");
        assert!(matches!(
            side.poll_event(&mut context()),
            Poll::Ready(Event::Broken(EmptyLine))
        ));
        assert!(side.poll_event(&mut context()).is_pending());
        side.poll_flush(&mut context());
        assert_eq!(hear(&mut theirs), b"empty\n");
    }
}
