//! One side of a WebSocket: the protocol's state, and what waits to be written.
//!
//! # How it works
//! `tungstenite` keeps the protocol's state; it reads through [`Reading`], which gives it what the peer has, and writes into
//! `out`, which takes everything. `out` is bounded by who calls: nothing is read for a side whose `out` is full, not even
//! pings, and no message is put there.

use std::io::{self, Read, Write};
use std::task::{Context, Poll};

use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::failure::FailureKind;
use crate::hooks::message::{Message, Party};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::snapshot::WebSocket;
use headgate_net::peer::Peer;

/// What is read at once, and what an idle side holds.
const READ_BYTES: usize = 4096;

/// With so much unsent a side is full.
const FULL_BYTES: usize = 64 * 1024;

/// See the module.
pub(super) struct Side<'a> {
    pub(super) peer: &'a mut Peer,
    context: WebSocketContext,
    out: Vec<u8>,
    sent: usize,
    state: SideState,
    limits: (usize, usize),
    /// Bytes read and written.
    pub(super) received: u64,
    pub(super) written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SideState {
    Open,
    /// A close frame was sent; the peer's is awaited.
    Closing,
    /// Nothing more is read; what waits is still written.
    Ended,
    /// And it was.
    Shut,
}

/// What came from a side.
pub(super) enum Event {
    Message(Message),
    /// The peer closed, properly.
    Closed(Option<CloseFrame>),
    /// The peer closed the connection without a close frame.
    Gone,
    /// The peer broke the protocol, or a limit.
    Broken(Fault),
}

/// What a peer did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Protocol,
    Text,
    MessageTooLarge,
    FrameTooLarge,
}

impl<'a> Side<'a> {
    /// The gateway's end towards a peer, as `role`.
    pub(super) fn new(peer: &'a mut Peer, role: Role, settings: &WebSocket) -> Self {
        let limits = (settings.max_message_bytes, settings.max_frame_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // `out` is the buffer
            .write_buffer_size(0)
            .max_message_size(Some(limits.0))
            .max_frame_size(Some(limits.1));
        Self {
            peer,
            context: WebSocketContext::new(role, Some(config)),
            out: Vec::new(),
            sent: 0,
            state: SideState::Open,
            limits,
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
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        while matches!(self.state, SideState::Open | SideState::Closing) {
            if self.is_full() {
                // its own responses to pings: whoever does not take them is read no further
                return Poll::Pending;
            }
            let mut stream = Reading {
                peer: self.peer,
                out: &mut self.out,
                context,
                received: &mut self.received,
            };
            let event = match self.context.read(&mut stream) {
                Ok(tungstenite::Message::Text(text)) => Event::Message(Message::Text(text)),
                Ok(tungstenite::Message::Binary(bytes)) => Event::Message(Message::Binary(bytes)),
                Ok(tungstenite::Message::Close(frame)) => Event::Closed(frame),
                // pongs are sent; that a pong came is seen by its bytes
                Ok(_) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => match self.fault(&error) {
                    Some(fault) => Event::Broken(fault),
                    None => Event::Gone,
                },
            };
            match event {
                // what was on its way when the gateway closed
                Event::Message(_) if self.state == SideState::Closing => continue,
                Event::Message(_) => {}
                Event::Closed(_) => {
                    // the reply was queued; where it is the last message this is an error
                    let _ = self.context.flush(&mut Writing(&mut self.out));
                    self.state = SideState::Ended;
                }
                Event::Broken(fault) => self.close(Some(fault.frame()), SideState::Ended),
                Event::Gone => self.state = SideState::Ended,
            }
            return Poll::Ready(event);
        }
        Poll::Pending
    }

    fn fault(&self, error: &Error) -> Option<Fault> {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => None,
            Error::Utf8(_) => Some(Fault::Text),
            Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                let (message, frame) = self.limits;
                Some(if frame < message && *max_size == frame {
                    Fault::FrameTooLarge
                } else {
                    Fault::MessageTooLarge
                })
            }
            _ => Some(Fault::Protocol),
        }
    }

    /// Puts a message into `out`.
    pub(super) fn send(&mut self, message: Message) {
        let message = match message {
            Message::Text(text) => tungstenite::Message::Text(text),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        };
        self.write(message);
    }

    /// Asks whether the peer is there.
    pub(super) fn ping(&mut self) {
        self.write(tungstenite::Message::Ping(bytes::Bytes::new()));
    }

    fn write(&mut self, message: tungstenite::Message) {
        if self.is_open() {
            // it fails only for a side that is closed, which this one is not
            let _ = self.context.write(&mut Writing(&mut self.out), message);
        }
    }

    /// Sends a close frame and awaits the peer's, unless it is past that.
    pub(super) fn end(&mut self, frame: Option<CloseFrame>) {
        if self.is_open() {
            self.close(frame, SideState::Closing);
        }
    }

    /// Ends without a close frame once everything is written: the peer shall see that it was cut.
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

    fn close(&mut self, frame: Option<CloseFrame>, next: SideState) {
        let _ = self.context.close(&mut Writing(&mut self.out), frame);
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

impl Fault {
    /// The close frame for the peer.
    fn frame(self) -> CloseFrame {
        close_frame(self.code(), self.reason())
    }

    /// RFC 6455 section 7.4.1.
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Text => 1007,
            Self::MessageTooLarge | Self::FrameTooLarge => 1009,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "this breaks the protocol",
            Self::Text => "text is UTF-8",
            Self::MessageTooLarge => "the message is too large",
            Self::FrameTooLarge => "the frame is too large",
        }
    }

    /// The limit that was hit.
    pub(super) fn limit(self) -> Option<&'static str> {
        match self {
            Self::MessageTooLarge => Some("websocket.max_message_bytes"),
            Self::FrameTooLarge => Some("websocket.max_frame_bytes"),
            Self::Protocol | Self::Text => None,
        }
    }

    /// The name for logs.
    pub(super) fn kind(self, by: Party) -> FailureKind {
        match (self, by) {
            (Self::Protocol, Party::Client) => FailureKind::ClientWebSocketProtocol,
            (Self::Protocol, _) => FailureKind::ServerWebSocketProtocol,
            (Self::Text, Party::Client) => FailureKind::ClientWebSocketBadUtf8,
            (Self::Text, _) => FailureKind::ServerWebSocketBadUtf8,
            (Self::MessageTooLarge | Self::FrameTooLarge, Party::Client) => {
                FailureKind::ClientWebSocketTooLarge
            }
            (Self::MessageTooLarge | Self::FrameTooLarge, _) => FailureKind::ServerWebSocketTooLarge,
        }
    }
}

/// A close frame of the gateway's own.
pub(super) fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    }
}

/// A peer as `tungstenite` reads it.
struct Reading<'a, 'b> {
    peer: &'a mut Peer,
    out: &'a mut Vec<u8>,
    context: &'a mut Context<'b>,
    received: &'a mut u64,
}

impl Read for Reading<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.peer.unread().is_empty() {
            match self
                .peer
                .poll_fill(self.context, headgate_net::peer::BUFFER_BYTES)
            {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(Ok(0)) => return Ok(0),
                Poll::Ready(read) => drop(read?),
            }
        }
        let n = self.peer.unread().len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.peer.unread()[..n]);
        self.peer.consume(n);
        *self.received += n as u64;
        Ok(n)
    }
}

impl Write for Reading<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A side's `out` as `tungstenite` writes to it.
struct Writing<'a>(&'a mut Vec<u8>);

impl Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Writing<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_net::stream::Stream;
    use headgate_net::virtual_stream::{virtual_pair, Duplex};
    use proptest::prelude::*;
    use std::task::Waker;

    const MOST: usize = 200;

    /// A frame with this first byte, masked or not; its payload may be anything.
    fn frame(first: u8, is_masked: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        let mask = if is_masked { 0x80 } else { 0 };
        match u16::try_from(payload.len()) {
            Ok(short @ 0..=125) => bytes.push(mask | u8::try_from(short).expect("it is at most 125")),
            Ok(long) => {
                bytes.push(mask | 0x7e);
                bytes.extend(long.to_be_bytes());
            }
            Err(_) => unreachable!("the test's payloads are short"),
        }
        if is_masked {
            bytes.extend([0; 4]);
        }
        bytes.extend(payload);
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            Just(0x81u8),
            Just(0x01),
            Just(0x80),
            Just(0x00),
            Just(0x82),
            Just(0x89),
            Just(0x88),
            any::<u8>()
        ];
        let payload = prop_oneof![
            "[a-zü]{0,20}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..300)
        ];
        let one = (first, prop::bool::weighted(0.9), payload)
            .prop_map(|(first, is_masked, payload)| frame(first, is_masked, &payload));
        prop_oneof![
            prop::collection::vec(one, 0..12).prop_map(|frames| frames.concat()),
            prop::collection::vec(any::<u8>(), 0..400)
        ]
    }

    proptest! {
        /// No bytes of a peer make the protocol panic, pass a limit, or say anything after its end.
        #[test]
        fn bytes_of_a_peer_stay_within_the_rules(bytes in frames(), cut in 1usize..64, of_server: bool) {
            let (ours, mut theirs) = virtual_pair();
            let mut peer = Peer::new(Stream::Virtual(Box::new(ours)), std::rc::Rc::default());
            let settings = WebSocket {
                max_message_bytes: MOST,
                max_frame_bytes: MOST,
                max_queued_bytes: 0,
                ping_interval: 0,
                idle: 0,
                close_timeout: 0,
            };
            let role = if of_server { Role::Client } else { Role::Server };
            let mut side = Side::new(&mut peer, role, &settings);
            let mut context = Context::from_waker(Waker::noop());
            let mut is_over = false;
            for piece in bytes.chunks(cut) {
                prop_assert!(Duplex::poll_write(&mut theirs, &mut context, piece, &[]).is_ready());
                while let Poll::Ready(event) = side.poll_event(&mut context) {
                    prop_assert!(!is_over, "nothing follows the end");
                    match event {
                        Event::Message(message) => prop_assert!(message.len() <= MOST),
                        Event::Closed(_) | Event::Gone | Event::Broken(_) => is_over = true,
                    }
                }
                side.poll_flush(&mut context);
                // what it says is read, so that it is never full
                while Duplex::poll_read(&mut theirs, &mut context, &mut Vec::new(), 4096)
                    .map(|read| read.is_ok_and(|n| n > 0)) == Poll::Ready(true) {}
                if is_over {
                    break;
                }
            }
            prop_assert!(side.received <= bytes.len() as u64);
            drop(theirs);
            let last = side.poll_event(&mut context);
            prop_assert_eq!(is_over, last.is_pending(), "the end is told once");
        }
    }
}
