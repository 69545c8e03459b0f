//! Byte streams that live in memory: what is not a socket but shall be served, or forwarded to, like one.
//!
//! # How it works
//! [`Duplex`] is what the engine asks of a stream; [`crate::stream::Stream::Virtual`] holds one. [`virtual_pair`] is the
//! ready-made one: two ends over two bounded buffers on one thread. An end that is dropped has finished sending, as a socket
//! that is closed; whoever still writes to it gets a broken pipe.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What each direction of a [`virtual_pair`] holds before its writer has to wait, in bytes.
pub const VIRTUAL_BUFFER_BYTES: usize = 64 * 1024;

/// A stream of bytes both ways that is not a socket. All of it lives on the worker's thread.
///
/// Each `poll_*` that is pending wakes the task of the last context it was given.
pub trait Duplex {
    /// Reads at most `limit` bytes to the end of `buffer`. 0 means the peer's end.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>>;

    /// Writes from the first slice, then the second; how many bytes of both together were taken, at least one.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>>;

    /// Says that no more bytes will come from here.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when a read would not wait.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when a write would not wait.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// What the peer has sent and was not read yet.
    fn peek(&self) -> Peek;

    /// A number that grows when a full connection below, which carries other streams too, has taken more: its peer is alive
    /// although this stream waits.
    fn carried(&self) -> u64 {
        0
    }
}

/// What a stream's peer has sent and was not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// Nothing, and the peer is there.
    Nothing,
    /// Bytes.
    Data,
    /// The peer has finished sending.
    End,
    /// The connection is broken.
    Broken,
}

/// Two ends of one stream, each with a buffer of [`VIRTUAL_BUFFER_BYTES`] towards the other.
pub fn virtual_pair() -> (VirtualEnd, VirtualEnd) {
    let there = Rc::new(RefCell::new(Pipe::default()));
    let back = Rc::new(RefCell::new(Pipe::default()));
    let one = VirtualEnd {
        incoming: back.clone(),
        outgoing: there.clone(),
    };
    let other = VirtualEnd {
        incoming: there,
        outgoing: back,
    };
    (one, other)
}

/// One end of a [`virtual_pair`].
pub struct VirtualEnd {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer has finished.
    is_ended: bool,
    /// The reader is gone.
    upload_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn poll_readable(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.bytes.is_empty() && !self.is_ended {
            remember(&mut self.reader, context);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn poll_writable(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.upload_closed || self.is_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.bytes.len() >= VIRTUAL_BUFFER_BYTES {
            remember(&mut self.writer, context);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, slice: &[u8]) -> usize {
        let n = slice.len().min(VIRTUAL_BUFFER_BYTES - self.bytes.len());
        self.bytes.extend(&slice[..n]);
        wake(&mut self.reader);
        n
    }

    fn take(&mut self, most: usize, mut keep: impl FnMut(&[u8])) -> usize {
        let n = most.min(self.bytes.len());
        let (head, tail) = self.bytes.as_slices();
        keep(&head[..n.min(head.len())]);
        keep(&tail[..n.saturating_sub(head.len())]);
        self.bytes.drain(..n);
        if self.bytes.is_empty() {
            // an idle stream holds no buffer
            self.bytes = VecDeque::new();
        }
        wake(&mut self.writer);
        n
    }

    fn end(&mut self) {
        self.is_ended = true;
        wake(&mut self.reader);
    }
}

impl Duplex for VirtualEnd {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.borrow_mut();
        pipe.poll_readable(context)
            .map(|()| Ok(pipe.take(limit, |bytes| buffer.extend_from_slice(bytes))))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.poll_writable(context).map_ok(|()| {
            let n = pipe.put(first);
            if n < first.len() {
                n
            } else {
                n + pipe.put(second)
            }
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().end();
        Poll::Ready(Ok(()))
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.borrow_mut().poll_readable(context).map(Ok)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().poll_writable(context)
    }

    fn peek(&self) -> Peek {
        let pipe = self.incoming.borrow();
        match (pipe.bytes.is_empty(), pipe.is_ended) {
            (false, _) => Peek::Data,
            (true, true) => Peek::End,
            (true, false) => Peek::Nothing,
        }
    }
}

impl AsyncRead for VirtualEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.incoming.borrow_mut();
        pipe.poll_readable(context).map(|()| {
            pipe.take(buffer.remaining(), |bytes| buffer.put_slice(bytes));
            Ok(())
        })
    }
}

impl AsyncWrite for VirtualEnd {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.poll_writable(context).map_ok(|()| pipe.put(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for VirtualEnd {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().end();
        let mut incoming = self.incoming.borrow_mut();
        incoming.upload_closed = true;
        incoming.bytes = VecDeque::new();
        wake(&mut incoming.writer);
    }
}

/// Keeps the waker of the task that waits.
pub fn remember(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(known) if known.will_wake(context.waker()) => {}
        _ => *place = Some(context.waker().clone()),
    }
}

/// Wakes the task that waits, if one does.
pub fn wake(place: &mut Option<Waker>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn polled(run: impl FnOnce(&mut Context<'_>)) {
        run(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    fn bytes_arrive_in_order_from_both_slices() {
        let (mut one, mut other) = virtual_pair();
        polled(|context| {
            assert!(matches!(
                Duplex::poll_write(&mut one, context, b"he", b"llo"),
                Poll::Ready(Ok(5))
            ));
            let mut buffer = Vec::new();
            assert!(matches!(
                Duplex::poll_read(&mut other, context, &mut buffer, 4),
                Poll::Ready(Ok(4))
            ));
            assert!(matches!(
                Duplex::poll_read(&mut other, context, &mut buffer, 4),
                Poll::Ready(Ok(1))
            ));
            assert_eq!(buffer, b"hello");
            assert!(Duplex::poll_read(&mut other, context, &mut buffer, 4).is_pending());
        });
    }

    #[test]
    fn writer_waits_while_the_buffer_is_full() {
        let (mut one, mut other) = virtual_pair();
        let big = vec![7; VIRTUAL_BUFFER_BYTES + 1];
        polled(|context| {
            assert!(matches!(
                Duplex::poll_write(&mut one, context, &big, b"x"),
                Poll::Ready(Ok(VIRTUAL_BUFFER_BYTES))
            ));
            assert!(Duplex::poll_write(&mut one, context, b"x", b"").is_pending());
            assert!(one.poll_write_ready(context).is_pending());
            let mut buffer = Vec::new();
            assert!(Duplex::poll_read(&mut other, context, &mut buffer, 1).is_ready());
            assert!(one.poll_write_ready(context).is_ready());
        });
    }

    #[test]
    fn half_close_ends_one_direction_only() {
        let (mut one, mut other) = virtual_pair();
        polled(|context| {
            assert!(Duplex::poll_shutdown(&mut one, context).is_ready());
            assert_eq!(other.peek(), Peek::End);
            assert!(matches!(
                Duplex::poll_read(&mut other, context, &mut Vec::new(), 1),
                Poll::Ready(Ok(0))
            ));
            assert!(matches!(
                Duplex::poll_write(&mut other, context, b"x", b""),
                Poll::Ready(Ok(1))
            ));
            assert_eq!(one.peek(), Peek::Data);
        });
    }

    #[test]
    fn dropped_end_has_finished_sending_and_takes_nothing() {
        let (one, mut other) = virtual_pair();
        drop(one);
        polled(|context| {
            assert_eq!(other.peek(), Peek::End);
            let written = Duplex::poll_write(&mut other, context, b"x", b"");
            assert!(matches!(written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
        });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn waiting_tasks_are_woken() {
        let (mut one, mut other) = virtual_pair();
        let sent = vec![9; 3 * VIRTUAL_BUFFER_BYTES];
        let writer = async {
            one.write_all(&sent).await.expect("the other end reads");
            drop(one);
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(writer, other.read_to_end(&mut received));
        assert_eq!(read.expect("a virtual stream does not fail"), sent.len());
    }
}
