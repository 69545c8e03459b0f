//! Log lines as syslog messages (RFC 5424), a datagram each (RFC 5426), many datagrams a system call.

use std::io::{self, IoSlice, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{sendmmsg, MMsgHdr, SendAncillaryBuffer, SendFlags};

use super::sink::LogCounts;
use super::timestamp::Timestamps;

/// Facility local7, severity informational: what nginx uses by default.
const PRIORITY: u8 = 23 * 8 + 6;
/// Datagrams handed to the kernel at once.
const BATCH: usize = 64;

/// Where the syslog daemon listens.
#[derive(Debug)]
pub(super) enum Address {
    Unix(PathBuf),
    Udp(SocketAddr),
}

/// A syslog daemon, connected to when there is something to send.
#[derive(Debug)]
pub(super) struct Syslog {
    address: Address,
    socket: Option<OwnedFd>,
    times: Timestamps,
    /// What follows the time in each header: host, program, process and message id, no structured data.
    origin: Vec<u8>,
}

impl Syslog {
    pub(super) fn open(address: Address) -> Self {
        let origin = format!(" {} headgate {} access - ", host_name(), std::process::id());
        Self {
            address,
            socket: None,
            times: Timestamps::new(),
            origin: origin.into_bytes(),
        }
    }

    /// Appends the header of one message (RFC 5424 section 6.2); the text of the message and a line break follow.
    pub(super) fn push_header(&self, unix_ms: u64, line: &mut Vec<u8>) {
        write!(line, "<{PRIORITY}>1 ").expect("memory takes every write");
        self.times.push_rfc3339(unix_ms, line);
        line.extend_from_slice(&self.origin);
    }

    /// Sends each line without its line break. A daemon that was restarted is connected to again once.
    pub(super) fn send_lines(&mut self, lines: &[u8], counts: &mut LogCounts) {
        let lines: Vec<&[u8]> = lines
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
            .collect();
        let mut rest = &lines[..];
        let mut may_reconnect = true;
        while !rest.is_empty() {
            match self.send(&rest[..rest.len().min(BATCH)]) {
                Ok(sent) => rest = &rest[sent.clamp(1, rest.len())..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // A line longer than a datagram.
                Err(Errno::MSGSIZE) => {
                    counts.failed_writes += 1;
                    counts.dropped_lines += 1;
                    rest = &rest[1..];
                }
                Err(_) if may_reconnect => {
                    may_reconnect = false;
                    self.disconnect();
                }
                Err(_) => {
                    counts.failed_writes += 1;
                    break;
                }
            }
        }
        counts.dropped_lines += rest.len() as u64;
    }

    pub(super) fn disconnect(&mut self) {
        self.socket = None;
    }

    fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(
                connect(&self.address)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOTCONN))?,
            ),
        };
        let slices: Vec<[IoSlice<'_>; 1]> = messages.iter().map(|message| [IoSlice::new(message)]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            messages.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut headers: Vec<MMsgHdr<'_>> = slices
            .iter()
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new(slice, control))
            .collect();
        sendmmsg(socket, &mut headers, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    }
}

fn connect(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Ok(socket.into())
        }
        Address::Udp(server) => {
            let local: SocketAddr = match server {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(local)?;
            socket.connect(server)?;
            Ok(socket.into())
        }
    }
}

/// The host's name in the characters RFC 5424 allows, or its nil value.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_server_gets_every_message() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let mut syslog = Syslog::open(Address::Udp(server.local_addr().expect("address")));
        let mut counts = LogCounts::default();
        let lines = (0..100)
            .map(|number| format!("message {number}"))
            .collect::<Vec<_>>()
            .join("\n");
        syslog.send_lines(lines.as_bytes(), &mut counts);
        let mut datagram = [0; 100];
        for number in 0..100 {
            let length = server.recv(&mut datagram).expect("datagram");
            assert_eq!(&datagram[..length], format!("message {number}").as_bytes());
        }
        assert_eq!(counts, LogCounts::default());
    }

    #[test]
    fn too_long_message_is_dropped_alone() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let mut syslog = Syslog::open(Address::Udp(server.local_addr().expect("address")));
        let mut counts = LogCounts::default();
        let lines = format!("one\n{}\ntwo\n", "x".repeat(70_000));
        syslog.send_lines(lines.as_bytes(), &mut counts);
        let mut datagram = [0; 100];
        for expected in ["one", "two"] {
            let length = server.recv(&mut datagram).expect("datagram");
            assert_eq!(&datagram[..length], expected.as_bytes());
        }
        assert_eq!(
            counts,
            LogCounts {
                dropped_lines: 1,
                failed_writes: 1
            }
        );
    }

    #[test]
    fn restarted_daemon_is_found_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("socket");
        let first = UnixDatagram::bind(&path).expect("bind");
        let mut syslog = Syslog::open(Address::Unix(path.clone()));
        let mut counts = LogCounts::default();
        syslog.send_lines(b"one\n", &mut counts);
        drop(first);
        std::fs::remove_file(&path).expect("remove");
        let second = UnixDatagram::bind(&path).expect("bind");
        syslog.send_lines(b"two\n", &mut counts);
        let mut datagram = [0; 10];
        assert_eq!(second.recv(&mut datagram).expect("datagram"), 3);
        assert_eq!(counts, LogCounts::default());
    }
}
