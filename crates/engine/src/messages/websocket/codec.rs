//! The protocol of WebSockets (RFC 6455) as a codec; the crate `tungstenite` keeps its state.

use std::io::{self, Read, Write};
use std::task::Poll;

use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::failure::{Failure, FailureKind};
use crate::hooks::message::{Message, Party};
use crate::messages::codec::{Close, Codec, Ending, Event, Fault, Names, Wire};
use crate::snapshot::WebSocket;
use headgate_net::limits::Limit;
use headgate_shared::metrics::Counter;

/// What is read at once, and what an idle side holds.
const READ_BYTES: usize = 4096;

/// RFC 6455 section 7.4.1.
const GOING_AWAY: u16 = 1001;
const INTERNAL_ERROR: u16 = 1011;

/// One side's state.
pub(super) struct WebSocketCodec {
    context: WebSocketContext,
    max_message_bytes: usize,
    max_frame_bytes: usize,
}

/// What a peer did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WebSocketFault {
    Protocol,
    Text,
    MessageTooLarge,
    FrameTooLarge,
}

impl WebSocketCodec {
    /// The gateway's end towards a peer, as `role`.
    pub(super) fn new(role: Role, settings: &WebSocket) -> Self {
        let (max_message_bytes, max_frame_bytes) = (settings.max_message_bytes, settings.max_frame_bytes);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // the side's `out` is the buffer
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_frame_bytes));
        Self {
            context: WebSocketContext::new(role, Some(config)),
            max_message_bytes,
            max_frame_bytes,
        }
    }

    fn fault(&self, error: &Error) -> Option<WebSocketFault> {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => None,
            Error::Utf8(_) => Some(WebSocketFault::Text),
            Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => Some(
                if self.max_frame_bytes < self.max_message_bytes && *max_size == self.max_frame_bytes {
                    WebSocketFault::FrameTooLarge
                } else {
                    WebSocketFault::MessageTooLarge
                },
            ),
            _ => Some(WebSocketFault::Protocol),
        }
    }

    fn put(&mut self, message: tungstenite::Message, out: &mut Vec<u8>) {
        // it fails only for a side that is closed, and none is written to then
        let _ = self.context.write(&mut Writing(out), message);
    }
}

impl Codec for WebSocketCodec {
    type Fault = WebSocketFault;

    const NAMES: Names = Names {
        messages: Counter::WebSocketMessages,
        faults: Counter::WebSocketFaults,
        limited: Counter::LimitWebSocketMessage,
        idle: Limit::WebSocketIdle,
        ping: Limit::WebSocketPing,
        close: Limit::WebSocketClose,
    };

    fn poll_next(&mut self, wire: &mut Wire<'_, '_>) -> Poll<Option<Event<WebSocketFault>>> {
        Poll::Ready(Some(match self.context.read(wire) {
            Ok(tungstenite::Message::Text(text)) => Event::Message(Message::Text(text)),
            Ok(tungstenite::Message::Binary(bytes)) => Event::Message(Message::Binary(bytes)),
            Ok(tungstenite::Message::Close(frame)) => Event::Closed(frame.map(|frame| Close {
                code: frame.code.into(),
                reason: frame.reason,
            })),
            // pongs are sent; that a pong came is seen by its bytes
            Ok(_) => return Poll::Ready(None),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => self.fault(&error).map_or(Event::Gone, Event::Broken),
        }))
    }

    fn write(&mut self, message: Message, out: &mut Vec<u8>) {
        let message = match message {
            Message::Text(text) => tungstenite::Message::Text(text),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        };
        self.put(message, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        self.put(tungstenite::Message::Ping(bytes::Bytes::new()), out);
    }

    fn close(&mut self, close: Option<Close>, out: &mut Vec<u8>) {
        let frame = close.map(|close| CloseFrame {
            code: CloseCode::from(close.code),
            reason: close.reason,
        });
        let _ = self.context.close(&mut Writing(out), frame);
    }

    fn reply_to_close(&mut self, out: &mut Vec<u8>) {
        // the reply was queued; where it is the last message this is an error
        let _ = self.context.flush(&mut Writing(out));
    }

    fn code(ending: Ending) -> u16 {
        match ending {
            Ending::ShuttingDown
            | Ending::ServerRemoved
            | Ending::Idle
            | Ending::PeerGone
            | Ending::ClientBroke => GOING_AWAY,
            Ending::ServerBroke | Ending::HookFailed => INTERNAL_ERROR,
        }
    }
}

impl Fault for WebSocketFault {
    /// The codes are those of RFC 6455 section 7.4.1.
    fn close(self) -> Close {
        let code = match self {
            Self::Protocol => 1002,
            Self::Text => 1007,
            Self::MessageTooLarge | Self::FrameTooLarge => 1009,
        };
        Close::new(code, self.reason())
    }

    fn failure(self, by: Party) -> Failure {
        let kind = match (self, by) {
            (Self::Protocol, Party::Client) => FailureKind::ClientWebSocketProtocol,
            (Self::Protocol, _) => FailureKind::ServerWebSocketProtocol,
            (Self::Text, Party::Client) => FailureKind::ClientWebSocketBadUtf8,
            (Self::Text, _) => FailureKind::ServerWebSocketBadUtf8,
            (Self::MessageTooLarge | Self::FrameTooLarge, Party::Client) => {
                FailureKind::ClientWebSocketTooLarge
            }
            (Self::MessageTooLarge | Self::FrameTooLarge, _) => FailureKind::ServerWebSocketTooLarge,
        };
        Failure::from(kind)
    }

    fn limit(self) -> Option<&'static str> {
        match self {
            Self::MessageTooLarge => Some("websocket.max_message_bytes"),
            Self::FrameTooLarge => Some("websocket.max_frame_bytes"),
            Self::Protocol | Self::Text => None,
        }
    }
}

impl WebSocketFault {
    fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "this breaks the protocol",
            Self::Text => "text is UTF-8",
            Self::MessageTooLarge => "the message is too large",
            Self::FrameTooLarge => "the frame is too large",
        }
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
    use crate::messages::side::Side;
    use headgate_net::peer::Peer;
    use headgate_net::stream::Stream;
    use headgate_net::virtual_stream::{virtual_pair, Duplex};
    use proptest::prelude::*;
    use std::task::{Context, Waker};

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
            let mut side = Side::new(&mut peer, WebSocketCodec::new(role, &settings));
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
