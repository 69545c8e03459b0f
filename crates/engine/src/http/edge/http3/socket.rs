//! A UDP socket as QUIC uses it, which hands on what belongs to other workers.
//!
//! # How it works
//! Workers of a slot share one socket over generations, and the kernel gives each packet to one of them; after a change of
//! a client's address, or of the number of workers, even to another slot. So whoever receives a packet looks at its
//! connection id: another endpoint's goes to that endpoint's inbox; what begins a connection goes, while this worker
//! drains, to who accepts now. What cannot be handed on is dealt with here, as of no connection.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram as Sender};
use std::task::{ready, Context, Poll};

use headgate_net::quic::{PacketSocket, Sending};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::connection_id::{addressed, Addressed, IdKey};
use super::inbox::{self, Inbox};

/// What is asked of the kernel for packets that wait, in bytes: bursts of many connections come at once.
const KERNEL_BYTES: usize = 4 << 20;

/// How often a number for a new endpoint is drawn: each time chances are one in millions that another has it.
const DRAWS: usize = 8;

/// See the module.
pub(super) struct WorkerSocket {
    io: UdpSocket,
    sending: Sending,
    key: IdKey,
    pub(super) endpoint: u32,
    cookie: u64,
    /// Packets of this endpoint's connections.
    own: Inbox,
    /// Packets that begin connections, while this worker accepts.
    new: RefCell<Option<Inbox>>,
    sender: Sender,
}

impl WorkerSocket {
    /// Takes over a socket that is bound.
    pub(super) fn adopt(socket: std::net::UdpSocket, key: IdKey) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        // as far as the system allows
        let _ = options.set_recv_buffer_size(KERNEL_BYTES);
        let _ = options.set_send_buffer_size(KERNEL_BYTES);
        let cookie = rustix::net::sockopt::socket_cookie(&socket)?;
        let (endpoint, own) = draw()?;
        let new = inbox::of_socket(cookie).find_map(|name| Inbox::bind(&name.ok()?).ok());
        Ok(Self {
            sending: Sending::new(UdpSocketState::new((&socket).into())?),
            io: UdpSocket::from_std(socket)?,
            key,
            endpoint,
            cookie,
            own,
            new: RefCell::new(new),
            sender: Sender::unbound()?,
        })
    }

    /// From now on what begins a connection goes to whoever accepts in this worker's place.
    pub(super) fn drain(&self) {
        self.new.take();
    }

    fn is_draining(&self) -> bool {
        self.new.borrow().is_none()
    }

    /// Whether the packet was handed to another worker.
    fn hand_on(&self, meta: &RecvMeta, packet: &[u8]) -> bool {
        let send = |name: io::Result<UnixAddr>| {
            let sent = name.and_then(|name| inbox::send(&self.sender, &name, meta, packet));
            // one that takes no more at present loses packets, as networks do
            sent.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
        };
        match addressed(packet, &self.key) {
            Addressed::To(endpoint) if endpoint != self.endpoint => send(inbox::of_endpoint(endpoint)),
            Addressed::New if self.is_draining() => inbox::of_socket(self.cookie).any(send),
            _ => false,
        }
    }

    /// The address that it is bound to.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Hands on what is of others, out of what was received; how many buffers have something left.
    fn sort(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta], count: usize) -> usize {
        let mut kept = 0;
        for at in 0..count {
            let mut meta = metas[at];
            let length = self.sort_one(&mut buffers[at], &meta);
            if length == 0 {
                continue;
            }
            meta.len = length;
            metas[kept] = meta;
            if kept < at {
                let (before, rest) = buffers.split_at_mut(at);
                before[kept][..length].copy_from_slice(&rest[0][..length]);
            }
            kept += 1;
        }
        kept
    }

    /// The same for one buffer, which may hold several datagrams of one source: how many bytes are left.
    fn sort_one(&self, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let stride = meta.stride.max(1);
        let (mut kept, mut at) = (0, 0);
        while at < meta.len {
            let end = (at + stride).min(meta.len);
            let mut one = *meta;
            (one.len, one.stride) = (end - at, end - at);
            if !self.hand_on(&one, &buffer[at..end]) {
                if kept < at {
                    buffer.copy_within(at..end, kept);
                }
                kept += end - at;
            }
            at = end;
        }
        kept
    }

    fn poll_inboxes(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<RecvMeta>> {
        if let Poll::Ready(received) = self.own.poll_receive(context, buffer) {
            return Poll::Ready(received);
        }
        let new = self.new.borrow();
        new.as_ref()
            .map_or(Poll::Pending, |new| new.poll_receive(context, buffer))
    }
}

/// A number that no other endpoint has, and its inbox.
fn draw() -> io::Result<(u32, Inbox)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..DRAWS {
        let mut number = [0; 4];
        aws_lc_rs::rand::fill(&mut number).map_err(|_| io::Error::other("no random numbers"))?;
        let number = u32::from_be_bytes(number);
        match inbox::of_endpoint(number).and_then(|name| Inbox::bind(&name)) {
            Ok(inbox) => return Ok((number, inbox)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl PacketSocket for WorkerSocket {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(received) = self.poll_inboxes(context, &mut buffers[0]) {
            metas[0] = received?;
            return Poll::Ready(Ok(1));
        }
        loop {
            ready!(self.io.poll_recv_ready(context))?;
            let mut count = 0;
            let _ = self.io.try_io(Interest::READABLE, || {
                count = self.sending.state.recv((&self.io).into(), buffers, metas)?;
                // where fewer came than there is room for, there are no more: that need not be asked
                if count < buffers.len() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            let kept = self.sort(buffers, metas, count);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io
            .try_io(Interest::WRITABLE, || self.sending.send(&self.io, transmit))
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
