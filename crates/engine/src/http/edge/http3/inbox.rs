//! Packets that another worker has received for an endpoint of this one.
//!
//! # How it works
//! An endpoint has two Unix datagram sockets in the abstract namespace. One is named by its number, for packets of its
//! connections. The other is named by the UDP socket, which workers of a slot share over generations: who accepts there
//! holds the first name that is free, and gives it up when it drains. A message is a header (where the packet came from,
//! and to which address) and the packet. Only processes of the same user are heard.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram as Sender};
use std::task::{ready, Context, Poll};

use quinn_udp::{EcnCodepoint, RecvMeta};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Source (18 bytes), destination (17), congestion mark (1), size of a datagram (4).
const HEADER_BYTES: usize = 40;

/// Workers that may share a UDP socket: one generation accepts, the others drain.
const HOLDERS: u8 = 16;

/// One socket that packets come in by.
#[derive(Debug)]
pub(super) struct Inbox(UnixDatagram);

/// The name of what belongs to an endpoint.
pub(super) fn of_endpoint(number: u32) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(format!("headgate-http3-{number:08x}"))
}

/// The names of what begins connections at a UDP socket.
pub(super) fn of_socket(cookie: u64) -> impl Iterator<Item = io::Result<UnixAddr>> {
    (0..HOLDERS)
        .map(move |holder| UnixAddr::from_abstract_name(format!("headgate-http3-new-{cookie:016x}-{holder}")))
}

impl Inbox {
    /// Takes the name, if nobody has it.
    pub(super) fn bind(name: &UnixAddr) -> io::Result<Self> {
        let socket = Sender::bind_addr(name)?;
        socket.set_nonblocking(true)?;
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self(UnixDatagram::from_std(socket)?))
    }

    /// Receives one message into `buffer`.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<RecvMeta>> {
        loop {
            ready!(self.0.poll_recv_ready(context))?;
            match self.0.try_io(Interest::READABLE, || self.receive(buffer)) {
                Ok(Some(meta)) => return Poll::Ready(Ok(meta)),
                // somebody else's, or none of ours
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<RecvMeta>> {
        let mut header = [0; HEADER_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        let received = rustix::net::recvmsg(&self.0, &mut slices, &mut control, RecvFlags::DONTWAIT)?;
        let own = rustix::process::getuid();
        let is_ours = control.drain().any(
            |message| matches!(message, RecvAncillaryMessage::ScmCredentials(sender) if sender.uid == own),
        );
        let Some(length) = received.bytes.checked_sub(HEADER_BYTES).filter(|_| is_ours) else {
            return Ok(None);
        };
        Ok(read_header(&header, length))
    }
}

/// Hands a packet to whoever has that name. False: nobody has, or it takes no more at present.
pub(super) fn send(from: &Sender, to: &UnixAddr, meta: &RecvMeta, packet: &[u8]) -> io::Result<()> {
    let header = write_header(meta);
    let slices = [io::IoSlice::new(&header), io::IoSlice::new(packet)];
    let name = rustix::net::SocketAddrUnix::new_abstract_name(to.as_abstract_name().unwrap_or_default())?;
    rustix::net::sendmsg_addr(
        from,
        &name,
        &slices,
        &mut rustix::net::SendAncillaryBuffer::default(),
        rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn write_header(meta: &RecvMeta) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(&wide(meta.addr.ip()).octets());
    header[16..18].copy_from_slice(&meta.addr.port().to_be_bytes());
    if let Some(ip) = meta.dst_ip {
        header[18] = 1;
        header[19..35].copy_from_slice(&wide(ip).octets());
    }
    header[35] = meta.ecn.map_or(0, |mark| mark as u8);
    header[36..].copy_from_slice(&u32::try_from(meta.stride).unwrap_or(u32::MAX).to_be_bytes());
    header
}

fn read_header(header: &[u8; HEADER_BYTES], length: usize) -> Option<RecvMeta> {
    let address = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(narrow);
    let stride = u32::from_be_bytes(header[36..].try_into().ok()?);
    let meta = RecvMeta {
        addr: SocketAddr::new(address(0)?, u16::from_be_bytes(header[16..18].try_into().ok()?)),
        len: length,
        stride: usize::try_from(stride).ok()?.min(length),
        ecn: EcnCodepoint::from_bits(header[35]),
        dst_ip: if header[18] == 1 { address(19) } else { None },
    };
    (meta.stride > 0).then_some(meta)
}

/// IPv4 addresses are carried as IPv6 ones; none of ours arrives mapped, as IPv6 sockets take IPv6 only.
fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn narrow(octets: [u8; 16]) -> IpAddr {
    let ip = Ipv6Addr::from(octets);
    ip.to_ipv4_mapped()
        .map_or(IpAddr::V6(ip), |ip: Ipv4Addr| IpAddr::V4(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_what_a_packet_came_with() {
        let meta = RecvMeta {
            addr: "10.0.0.1:4433".parse().expect("it is one"),
            len: 3000,
            stride: 1200,
            ecn: Some(EcnCodepoint::Ce),
            dst_ip: Some("127.0.0.2".parse().expect("it is one")),
        };
        let told = |meta: Option<RecvMeta>| format!("{meta:?}");
        assert_eq!(told(read_header(&write_header(&meta), 3000)), told(Some(meta)));
        let other = RecvMeta {
            addr: "[2001:db8::1]:5".parse().expect("it is one"),
            len: 10,
            stride: 10,
            ..RecvMeta::default()
        };
        assert_eq!(told(read_header(&write_header(&other), 10)), told(Some(other)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn packets_reach_who_holds_the_name() {
        let name = of_endpoint(std::process::id() ^ 0x5a5a_0000).expect("it fits");
        let inbox = Inbox::bind(&name).expect("nobody has it");
        assert_eq!(
            Inbox::bind(&name).expect_err("it is taken").kind(),
            io::ErrorKind::AddrInUse
        );
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (5, 5);
        let sender = Sender::unbound().expect("there are descriptors");
        send(&sender, &name, &meta, b"hello").expect("it is there");
        let mut buffer = [0; 100];
        let received = std::future::poll_fn(|context| inbox.poll_receive(context, &mut buffer)).await;
        assert_eq!(received.expect("it is open").len, 5);
        assert_eq!(&buffer[..5], b"hello");
        drop(inbox);
        assert!(send(&sender, &name, &meta, b"hello").is_err());
    }
}
