//! A byte stream to a peer: TCP, a Unix socket, or one in memory, behind one type.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{pin, Pin};
use std::task::{ready, Context, Poll, Waker};

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::virtual_stream::Duplex;
pub(crate) use crate::virtual_stream::Peek;

/// A connected stream.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Virtual(Box<dyn Duplex>),
}

impl Stream {
    /// Reads at most `limit` bytes into the spare capacity of `buffer`. 0 means the end (the buffer must have room).
    pub(crate) fn poll_read(
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
        }
    }

    /// Writes two slices in one system call.
    pub(crate) fn poll_write(
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
        // send(2) costs less than writev(2)
        let written = match (self, single) {
            (Self::Tcp(stream), Some(single)) => ready!(Pin::new(stream).poll_write(context, single)),
            (Self::Tcp(stream), None) => ready!(Pin::new(stream).poll_write_vectored(context, &slices)),
            (Self::Unix(stream), Some(single)) => ready!(Pin::new(stream).poll_write(context, single)),
            (Self::Unix(stream), None) => ready!(Pin::new(stream).poll_write_vectored(context, &slices)),
            (Self::Virtual(stream), _) => ready!(stream.poll_write(context, first, second)),
        };
        Poll::Ready(match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        })
    }

    /// Says that no more bytes will come from here.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Virtual(stream) => stream.poll_shutdown(context),
        }
    }

    pub(crate) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            Self::Virtual(stream) => stream.poll_read_ready(context),
        }
    }

    /// Whether there is something to read, or an end, as far as the loop has noticed. Registers nobody.
    pub(crate) fn has_news(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Virtual(stream) => stream
                .poll_read_ready(&mut Context::from_waker(Waker::noop()))
                .is_ready(),
        }
    }

    pub(crate) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
            Self::Virtual(stream) => stream.poll_write_ready(context),
        }
    }

    /// The descriptor, where system calls may work on the stream's bytes as they are (no memory stream has one).
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Unix(stream) => Some(stream.as_fd()),
            Self::Virtual(_) => None,
        }
    }

    /// Runs a system call on a socket that may block, keeping the readiness right.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, || call(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(interest, || call(stream.as_fd())),
            Self::Virtual(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What the peer has sent that nobody read yet.
    pub(crate) fn peek(&self) -> Peek {
        if let Self::Virtual(stream) = self {
            return stream.peek();
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
