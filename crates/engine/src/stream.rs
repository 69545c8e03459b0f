//! A byte stream to a peer: TCP or a Unix socket behind one type.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{pin, Pin};
use std::task::{ready, Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Reads at most `limit` bytes into the spare capacity of `buffer`. 0 means the end (the buffer must have room).
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut target = buffer.limit(limit);
        // `read_buf` keeps no state, so that a new future for each poll is the same as one kept
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(&mut target)).poll(context),
            Self::Unix(stream) => pin!(stream.read_buf(&mut target)).poll(context),
        }
    }

    /// Writes two slices in one system call.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let slices = match (first.is_empty(), second.is_empty()) {
            (false, false) => &slices[..],
            (false, true) => &slices[..1],
            _ => &slices[1..],
        };
        let written = match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_write_vectored(context, slices)),
            Self::Unix(stream) => ready!(Pin::new(stream).poll_write_vectored(context, slices)),
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
        }
    }

    pub(crate) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    pub(crate) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    /// Runs a system call that may block, keeping the readiness right.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, call),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// What the peer has sent that nobody read yet.
    pub(crate) fn peek(&self) -> Peek {
        let mut byte = [0u8; 1];
        let peeked = self.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(
                self.as_fd(),
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

/// See [`Stream::peek`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peek {
    /// Nothing, and the peer is there.
    Nothing,
    /// Bytes.
    Data,
    /// The peer has finished sending.
    End,
    /// The connection is broken.
    Broken,
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
