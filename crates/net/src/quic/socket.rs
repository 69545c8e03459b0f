//! What an endpoint asks of its socket, and one that is of one connection.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSliceMut};
use std::task::{ready, Context, Poll, Waker};

use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::virtual_stream::{remember, wake};

/// A UDP socket whose calls may each take several datagrams.
pub trait PacketSocket {
    /// Receives into buffers, each of which takes datagrams of one size and one source; how many were filled.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// Sends datagrams. Fails with `WouldBlock` only: what cannot be sent is lost, as in a network.
    fn try_send(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()>;

    /// Ready when it may be tried again.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Datagrams that one call may send.
    fn max_send_segments(&self) -> usize;

    /// Datagrams that one buffer may receive.
    fn max_receive_segments(&self) -> usize;

    /// Whether the system may cut datagrams, so that their greatest size cannot be found by trying.
    fn may_fragment(&self) -> bool;
}

/// As the socket takes it.
pub(super) fn outgoing<'a>(transmit: &Transmit, buffer: &'a [u8]) -> quinn_udp::Transmit<'a> {
    quinn_udp::Transmit {
        destination: transmit.destination,
        ecn: transmit
            .ecn
            .and_then(|mark| quinn_udp::EcnCodepoint::from_bits(mark as u8)),
        contents: &buffer[..transmit.size],
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}

/// The mark of congestion that a datagram came with.
pub(super) fn mark(meta: &RecvMeta) -> Option<EcnCodepoint> {
    meta.ecn.and_then(|mark| EcnCodepoint::from_bits(mark as u8))
}

/// How one socket sends: what systems promise, interfaces do not all keep.
pub struct Sending {
    /// What the system says that it can do.
    pub state: UdpSocketState,
    /// Marks of congestion were refused.
    is_unmarked: Cell<bool>,
}

impl Sending {
    /// For a socket of which nothing is known yet.
    pub fn new(state: UdpSocketState) -> Self {
        Self {
            state,
            is_unmarked: Cell::new(false),
        }
    }

    /// Sends datagrams. What is refused is sent again at once in a plainer way: one by one, in place of being cut by the
    /// system, and without a mark. The system is not asked for it any more then.
    ///
    /// # Errors
    /// `WouldBlock` only: what cannot be sent is lost, as in a network; probes of the path's size may be too large.
    pub fn send(&self, io: &UdpSocket, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        let ecn = transmit.ecn.filter(|_| !self.is_unmarked.get());
        let marked = quinn_udp::Transmit { ecn, ..*transmit };
        match self.state.try_send(io.into(), &marked) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if transmit.segment_size.is_some() => {
                let size = transmit.segment_size.unwrap_or(usize::MAX).max(1);
                for contents in transmit.contents.chunks(size) {
                    let one = quinn_udp::Transmit {
                        contents,
                        segment_size: None,
                        ..*transmit
                    };
                    // the kernel's buffer may be full by now, of which nothing is left to be told
                    let _ = self.send(io, &one);
                }
            }
            Err(error) if ecn.is_some() && error.kind() != io::ErrorKind::ConnectionRefused => {
                let plain = quinn_udp::Transmit {
                    ecn: None,
                    ..*transmit
                };
                if self.state.try_send(io.into(), &plain).is_ok() {
                    self.is_unmarked.set(true);
                }
            }
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }
}

/// A socket of a connection's own, bound and connected.
pub struct PlainSocket {
    io: UdpSocket,
    sending: Sending,
    /// Something has come: somebody is at the other end.
    has_heard: Cell<bool>,
    /// The system was told that nobody is.
    is_refused: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

impl PlainSocket {
    /// Uses a socket.
    pub fn new(io: UdpSocket) -> io::Result<Self> {
        let sending = Sending::new(UdpSocketState::new((&io).into())?);
        Ok(Self {
            io,
            sending,
            has_heard: Cell::new(false),
            is_refused: Cell::new(false),
            reader: RefCell::default(),
        })
    }

    /// Looks whether what was sent came to nobody, which is not told otherwise before the next is sent.
    fn look_for_refusal(&self) {
        let error = self.io.take_error().ok().flatten();
        if error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            self.is_refused.set(true);
            wake(&mut self.reader.borrow_mut());
        }
    }
}

impl PacketSocket for PlainSocket {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.is_refused.get() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            remember(&mut self.reader.borrow_mut(), context);
            ready!(self.io.poll_recv_ready(context))?;
            let received = self.io.try_io(Interest::READABLE, || {
                self.sending.state.recv((&self.io).into(), buffers, metas)
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => {
                    self.has_heard.set(other.is_ok());
                    return Poll::Ready(other);
                }
            }
        }
    }

    fn try_send(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        let sent = self
            .io
            .try_io(Interest::WRITABLE, || self.sending.send(&self.io, transmit));
        if !self.has_heard.get() {
            self.look_for_refusal();
        }
        sent
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(context)
    }

    fn max_send_segments(&self) -> usize {
        self.sending.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.sending.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.sending.state.may_fragment()
    }
}
