//! The first message of a client that begins a connection, read before it is decided on.
//!
//! # How it works
//! The keys of Initial packets follow from the id that the client has made up (RFC 9001 section 5.2), so that they can be
//! read without beginning a handshake. The packets themselves stay with the endpoint, and the handshake reads them again:
//! what it makes of the message must be compared with what was seen here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use headgate_wire::{
    parse_client_hello_message, parse_initial, ClientHello, ClientHelloError, CryptoStream, Initial, Parsed,
};
use quinn_proto::crypto::{Keys, ServerConfig};
use quinn_proto::ConnectionId;

use crate::virtual_stream::{remember, wake};

/// The first bytes of a packet's number (RFC 9000 section 17.1).
const NUMBER_LENGTH: u8 = 0x03;

/// Beyond this much no message is gathered, whatever its reader allows.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

type Shared = Rc<RefCell<Hello>>;

/// The messages of an endpoint's connections that are to be decided on.
pub(super) struct Hellos {
    crypto: Arc<dyn ServerConfig>,
    /// By the id that the client has made up.
    open: RefCell<HashMap<Box<[u8]>, Shared>>,
    /// The last datagram that belongs to none: it may begin a connection.
    last: RefCell<Vec<u8>>,
}

impl Hellos {
    pub(super) fn new(crypto: Arc<dyn ServerConfig>) -> Self {
        Self {
            crypto,
            open: RefCell::default(),
            last: RefCell::default(),
        }
    }

    /// Looks at a datagram before the endpoint has it.
    pub(super) fn see(&self, datagram: &[u8]) {
        let Some(initial) = parse_initial(datagram) else {
            return;
        };
        if let Some(hello) = self.open.borrow().get(initial.destination) {
            return hello.borrow_mut().take(datagram);
        }
        let last = &mut *self.last.borrow_mut();
        last.clear();
        last.extend_from_slice(datagram);
    }

    /// The datagram that was seen last begins a connection.
    pub(super) fn begin(self: &Rc<Self>) -> Option<OpenHello> {
        let datagram = std::mem::take(&mut *self.last.borrow_mut());
        let initial = parse_initial(&datagram)?;
        let id: Box<[u8]> = initial.destination.into();
        let keys = self
            .crypto
            .initial_keys(initial.version, &ConnectionId::new(&id))
            .ok()?;
        let hello = Rc::new(RefCell::new(Hello {
            keys,
            stream: CryptoStream::default(),
            reader: None,
        }));
        hello.borrow_mut().take(&datagram);
        self.open.borrow_mut().insert(id.clone(), hello.clone());
        Some(OpenHello {
            of: self.clone(),
            id,
            hello,
        })
    }
}

struct Hello {
    keys: Keys,
    stream: CryptoStream,
    reader: Option<Waker>,
}

impl Hello {
    /// Takes what the Initial packets of a datagram carry.
    fn take(&mut self, mut datagram: &[u8]) {
        while let Some(initial) = parse_initial(datagram) {
            if let Some(payload) = opened(&initial, &self.keys) {
                self.stream.take(&payload, MAX_MESSAGE_BYTES);
            }
            datagram = &datagram[initial.bytes.len()..];
        }
        wake(&mut self.reader);
    }
}

/// The payload of a packet that is not damaged.
fn opened(initial: &Initial<'_>, keys: &Keys) -> Option<BytesMut> {
    let mut packet = BytesMut::from(initial.bytes);
    keys.header.remote.decrypt(initial.number_at, &mut packet);
    let length = usize::from(packet.first()? & NUMBER_LENGTH) + 1;
    let header = packet.split_to(initial.number_at + length);
    let number = header[initial.number_at..]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    keys.packet
        .remote
        .decrypt(number, &header, &mut packet)
        .is_ok()
        .then_some(packet)
}

/// A connection's message, gathered until this is dropped.
pub(super) struct OpenHello {
    of: Rc<Hellos>,
    id: Box<[u8]>,
    hello: Shared,
}

impl OpenHello {
    /// Ready when the message is whole, or wrong. It has at most so many bytes.
    pub(super) fn poll(
        &self,
        context: &Context<'_>,
        max_bytes: usize,
    ) -> Poll<Result<ClientHello, ClientHelloError>> {
        let hello = &mut *self.hello.borrow_mut();
        let message = hello.stream.message();
        let parsed =
            message.and_then(|message| parse_client_hello_message(message, max_bytes.min(MAX_MESSAGE_BYTES)));
        match parsed {
            Ok(Parsed::Complete { head, .. }) => Poll::Ready(Ok(head)),
            Ok(Parsed::Partial) => {
                remember(&mut hello.reader, context);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for OpenHello {
    fn drop(&mut self) {
        self.of.open.borrow_mut().remove(&self.id);
    }
}
