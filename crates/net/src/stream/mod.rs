//! A byte stream to a peer: TCP, a Unix socket, one in memory, or TLS over one, behind one type.

mod tls;

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{pin, Pin};
use std::task::{ready, Context, Poll, Waker};
use std::time::Duration;

use bytes::BufMut;
use rustix::net::{sockopt, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub use crate::virtual_stream::Peek;
use crate::virtual_stream::{virtual_pair, Duplex};
pub use tls::TlsStream;

/// A connected stream.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// In memory.
    Virtual(Box<dyn Duplex>),
    /// TLS over another.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// See [`Duplex::carried`]; 0 for what no other connection carries.
    pub fn carried(&self) -> u64 {
        match self {
            Self::Virtual(stream) => stream.carried(),
            _ => 0,
        }
    }

    /// A stream whose peer is gone.
    #[inline]
    pub fn nowhere() -> Self {
        Self::Virtual(Box::new(virtual_pair().0))
    }

    /// Reads at most `limit` bytes into the spare capacity of `buffer`. 0 means the end (the buffer must have room).
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        // `read_buf` keeps no state, so that a new future for each poll is the same as one kept
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(&mut buffer.limit(limit))).poll(context),
            Self::Unix(stream) => pin!(stream.read_buf(&mut buffer.limit(limit))).poll(context),
            Self::Virtual(stream) => stream.poll_read(context, buffer, limit),
            Self::Tls(stream) => stream.poll_read(context, buffer, limit),
        }
    }

    /// As [`Stream::poll_read`], for what the loop has told of already; `WouldBlock` for whatever else. It costs less, but
    /// counts not against the task's budget: not for transfers, which might keep others from running.
    pub fn read_now(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let room = limit.min(buffer.capacity() - buffer.len());
        let read = match self {
            Self::Tcp(stream) => stream.try_read_buf(&mut (&mut *buffer).limit(limit))?,
            Self::Unix(stream) => stream.try_read_buf(&mut (&mut *buffer).limit(limit))?,
            Self::Virtual(_) | Self::Tls(_) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        if (1..room).contains(&read) {
            // that was all: the loop has to tell again before the system is asked, as after a `poll_read`
            let _ = self.try_io::<()>(Interest::READABLE, |_| Err(io::ErrorKind::WouldBlock.into()));
        }
        Ok(read)
    }

    /// Reads from a socket into `room`, which stays as it was at the end.
    #[inline]
    pub fn poll_read_socket(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, room),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, room),
            Self::Virtual(_) | Self::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Writes two slices in one system call. After `Pending` the next call must begin with the same bytes.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let single = match (first.is_empty(), second.is_empty()) {
            (false, false) => None,
            (false, true) => Some(first),
            _ => Some(second),
        };
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        // nearly always the socket takes it, so that nothing need be prepared for a wait
        match self.write_now(single, &slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => return Poll::Ready(written),
        }
        let written = match (self, single) {
            (Self::Tcp(stream), Some(single)) => ready!(Pin::new(stream).poll_write(context, single)),
            (Self::Tcp(stream), None) => ready!(Pin::new(stream).poll_write_vectored(context, &slices)),
            (Self::Unix(stream), Some(single)) => ready!(Pin::new(stream).poll_write(context, single)),
            (Self::Unix(stream), None) => ready!(Pin::new(stream).poll_write_vectored(context, &slices)),
            (Self::Virtual(stream), _) => ready!(stream.poll_write(context, first, second)),
            (Self::Tls(stream), _) => return stream.poll_write(context, first, second),
        };
        Poll::Ready(match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        })
    }

    /// Writes if the socket takes something now; `WouldBlock` for whatever else.
    fn write_now(&self, single: Option<&[u8]>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.socket().is_none() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.try_io(Interest::WRITABLE, |socket| {
            // send(2) costs less than writev(2); and without libc, whose calls can be cancelled by threads, for which they pay
            Ok(match single {
                Some(single) => rustix::net::send(socket, single, SendFlags::NOSIGNAL)?,
                None => rustix::io::writev(socket, slices)?,
            })
        })
    }

    /// Writes several slices, at least one of which is not empty, in one system call where there is one.
    pub fn poll_write_slices(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Self::Tcp(stream), [single]) => Pin::new(stream).poll_write(context, single),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(context, slices),
            (Self::Unix(stream), _) => Pin::new(stream).poll_write_vectored(context, slices),
            (other, _) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                other.poll_write(context, first.map_or(&[], |slice| slice), &[])
            }
        }
    }

    /// Says that no more bytes will come from here.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Virtual(stream) => stream.poll_shutdown(context),
            Self::Tls(stream) => stream.poll_shutdown(context),
        }
    }

    /// Ready when there is something to read: bytes, the end, or an error.
    pub fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            Self::Virtual(stream) => stream.poll_read_ready(context),
            Self::Tls(stream) => stream.poll_read_ready(context),
        }
    }

    /// Whether there is something to read, or an end, as far as the loop has noticed. Registers no waker, and asks the
    /// system only if the loop has not yet seen that all was read.
    pub fn has_news(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => self.peek() != Peek::Nothing,
            Self::Virtual(stream) => stream
                .poll_read_ready(&mut Context::from_waker(Waker::noop()))
                .is_ready(),
            Self::Tls(stream) => stream.has_news(),
        }
    }

    /// Ready when the peer may take something.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
            Self::Virtual(stream) => stream.poll_write_ready(context),
            Self::Tls(stream) => stream.below().poll_write_ready(context),
        }
    }

    /// Has a connection over TCP break when what was sent is not acknowledged within `limit_ms`, or when its peer is silent for
    /// so long in response to probes, which begin after three times that.
    pub fn notice_silence(&self, limit_ms: u32) {
        let socket = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => return stream.below().notice_silence(limit_ms),
            Self::Unix(_) | Self::Virtual(_) => return,
        };
        let limit = Duration::from_millis(u64::from(limit_ms));
        // a system without them notices later
        let _ = sockopt::set_tcp_user_timeout(socket, limit_ms);
        let _ = sockopt::set_tcp_keepidle(socket, 3 * limit);
        let _ = sockopt::set_tcp_keepintvl(socket, limit / 3);
        let _ = sockopt::set_tcp_keepcnt(socket, 3);
        let _ = sockopt::set_socket_keepalive(socket, true);
    }

    /// The descriptor, where system calls may work on the stream's bytes as they are: not in memory, nor under TLS.
    #[inline]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Unix(stream) => Some(stream.as_fd()),
            Self::Virtual(_) | Self::Tls(_) => None,
        }
    }

    /// Runs a system call on a socket that may block, keeping the readiness right.
    #[inline]
    pub fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, || call(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(interest, || call(stream.as_fd())),
            Self::Virtual(_) | Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What the peer has sent and was not read yet.
    pub fn peek(&mut self) -> Peek {
        match self {
            Self::Virtual(stream) => return stream.peek(),
            Self::Tls(stream) => return stream.peek(),
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        let mut byte = [0u8; 1];
        let peeked = self.try_io(Interest::READABLE, |socket| {
            Ok(rustix::net::recv(
                socket,
                &mut byte,
                rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT,
            )?)
        });
        match peeked {
            Ok((0, _)) => Peek::End,
            Ok(_) => Peek::Data,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Peek::Nothing,
            Err(_) => Peek::Broken,
        }
    }
}
