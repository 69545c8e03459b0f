//! A stream with what was read from it and not yet used, and the pool of large buffers that reading borrows from.
//!
//! # How it works
//! A read goes into a 64 KB buffer from the worker's pool. While a peer has nothing unread it holds no buffer at all;
//! while it waits with some bytes unread it holds them in a vector of just their size. So an idle connection costs no
//! buffer and a slow peer costs its unread bytes. In front of what is read a little room stays free, so that a head
//! written anew can stand right before its body and both leave in one slice.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use crate::buffers::{is_pooled, HEADROOM};
pub use crate::buffers::{Buffers, BUFFER_BYTES};
use crate::deadline::Watched;
use crate::limits::Limit;
use crate::pipe::Pipes;
use crate::stream::Stream;
use crate::stream::TlsStream;
use crate::turns::{Turn, Turns};

/// A stream and its unread bytes.
pub struct Peer {
    /// The stream, whose next bytes come after the unread ones.
    pub stream: Stream,
    data: Vec<u8>,
    start: usize,
    buffers: Rc<Buffers>,
}

/// Why a read or write ended.
#[derive(Debug)]
pub enum Broken {
    /// The peer closed before it should have.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// A timeout.
    Limit(Limit),
}

impl Peer {
    /// A peer of which nothing was read.
    pub fn new(stream: Stream, buffers: Rc<Buffers>) -> Self {
        Self {
            stream,
            data: Vec::new(),
            start: 0,
            buffers,
        }
    }

    /// Puts a TLS session in the stream's place; `received` was read from the stream before.
    pub fn wrap(&mut self, session: rustls::Connection, received: Vec<u8>) -> &mut TlsStream {
        let below = std::mem::replace(&mut self.stream, Stream::nowhere());
        let secured = TlsStream::new(below, session, received, Rc::clone(&self.buffers));
        self.stream = Stream::Tls(Box::new(secured));
        match &mut self.stream {
            Stream::Tls(secured) => secured,
            _ => unreachable!("it was put there just now"),
        }
    }

    /// What was read and not used, which is used then.
    #[inline]
    pub fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unread().to_vec();
        self.consume(unread.len());
        unread
    }

    /// The worker's pipes.
    #[inline]
    pub fn pipes(&self) -> &Pipes {
        &self.buffers.pipes
    }

    /// The line of the worker's transfers.
    #[inline]
    pub fn turns(&self) -> &Turns {
        &self.buffers.turns
    }

    /// What was read and not used.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// Marks `n` bytes as used.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.data.len());
        if self.start >= self.data.len() {
            self.release();
        }
    }

    fn release(&mut self) {
        self.start = 0;
        self.buffers.give(std::mem::take(&mut self.data));
    }

    /// Puts `bytes` right before the unread ones, if there are any and the room suffices.
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        if self.unread().is_empty() || bytes.len() > self.start {
            return false;
        }
        let start = self.start - bytes.len();
        self.data[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Keeps only the unread bytes, in a vector of their size.
    pub fn settle(&mut self) {
        if !is_pooled(&self.data) {
            return;
        }
        let unread = self.data[self.start..].to_vec();
        self.start = 0;
        self.buffers.give(std::mem::replace(&mut self.data, unread));
    }

    /// Reads behind the unread bytes. 0 means the peer's end.
    ///
    /// The caller bounds what it leaves unread to less than [`BUFFER_BYTES`].
    #[inline]
    pub fn poll_fill(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        self.make_room()?;
        let read = self.stream.poll_read(context, &mut self.data, limit);
        self.tidy(read.is_pending());
        read
    }

    /// As [`Peer::poll_fill`], for heads: they are short, and nearly always here when the task is woken.
    pub fn poll_fill_head(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        self.make_room()?;
        let read = match self.stream.read_now(&mut self.data, limit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stream.poll_read(context, &mut self.data, limit)
            }
            read => Poll::Ready(read),
        };
        self.tidy(read.is_pending());
        read
    }

    /// A buffer with room behind the unread bytes.
    fn make_room(&mut self) -> io::Result<()> {
        if !is_pooled(&self.data) || self.data.len() == self.data.capacity() {
            let mut buffer = self.buffers.take_with_room();
            buffer.extend_from_slice(self.unread());
            self.start = HEADROOM;
            self.buffers.give(std::mem::replace(&mut self.data, buffer));
        }
        if self.data.len() == self.data.capacity() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    /// Gives a buffer back that is not needed after a read.
    fn tidy(&mut self, waits: bool) {
        if self.unread().is_empty() {
            self.release();
        } else if waits {
            self.settle();
        }
    }

    /// As [`Peer::poll_fill`], for a transfer that is scheduled in turn with others.
    pub fn poll_fill_in_turn(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
        turn: &mut Turn,
    ) -> Poll<io::Result<usize>> {
        ready!(self.turns().poll(context, turn));
        let read = self.poll_fill(context, limit);
        if read.is_pending() {
            self.turns().give_back();
        }
        read
    }

    /// Whether there is nothing to read, as cheaply as can be told; the task is woken when there is.
    #[inline]
    pub fn waits(&mut self, context: &mut Context<'_>) -> bool {
        self.data.is_empty()
            && self.stream.socket().is_some()
            && self.stream.poll_read_ready(context).is_pending()
    }

    /// As [`Peer::poll_fill_head`], within the watch's deadline. An end is [`Broken::Closed`].
    pub async fn fill(&mut self, watch: &Watched, limit: usize) -> Result<usize, Broken> {
        let mut is_first = true;
        poll_fn(|context| {
            // at first there is seldom something: ask before a buffer is taken to read into
            if std::mem::take(&mut is_first) && self.waits(context) {
                return late(watch, context).map(Err);
            }
            let read = self.poll_fill_head(context, limit);
            watched(read, watch, context)
        })
        .await
        .and_then(|n| if n == 0 { Err(Broken::Closed) } else { Ok(n) })
    }

    /// Says that no more bytes will come from here. False: the peer cannot be told.
    pub async fn shutdown(&mut self, watch: &Watched) -> bool {
        poll_fn(|context| watched(self.stream.poll_shutdown(context), watch, context))
            .await
            .is_ok()
    }

    /// Writes all of `bytes`, within the watch's deadline, armed anew (`ms`) after each progress.
    pub async fn write_all(&mut self, watch: &Watched, bytes: &[u8], ms: u64) -> Result<(), Broken> {
        self.write_both(watch, bytes, &[], ms).await
    }

    /// The same for two slices.
    pub async fn write_both(
        &mut self,
        watch: &Watched,
        mut first: &[u8],
        mut second: &[u8],
        ms: u64,
    ) -> Result<(), Broken> {
        // with nothing to write there is no wait, and whatever the watch is armed for goes on
        if !(first.is_empty() && second.is_empty()) {
            watch.arm(Limit::Send, ms);
        }
        let mut carried = self.stream.carried();
        poll_fn(|context| {
            while !first.is_empty() || !second.is_empty() {
                let written = self.stream.poll_write(context, first, second);
                let n = match ready!(watched(written, watch, context)) {
                    Ok(n) => n,
                    Err(Broken::Limit(Limit::Send)) if self.stream.carried() != carried => {
                        // the peer takes bytes, only not yet those of this stream
                        carried = self.stream.carried();
                        watch.arm(Limit::Send, ms);
                        watch.register(context);
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                };
                let of_first = n.min(first.len());
                first = &first[of_first..];
                second = &second[n - of_first..];
                watch.arm(Limit::Send, ms);
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// A poll's result under a deadline.
pub fn watched<T>(
    poll: Poll<io::Result<T>>,
    watch: &Watched,
    context: &Context<'_>,
) -> Poll<Result<T, Broken>> {
    match poll {
        Poll::Ready(Ok(value)) => Poll::Ready(Ok(value)),
        Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Io(error))),
        Poll::Pending => late(watch, context).map(Err),
    }
}

/// Ready with the limit that was hit; else the task is woken when the deadline passes.
pub fn late(watch: &Watched, context: &Context<'_>) -> Poll<Broken> {
    if let Some(limit) = watch.expired() {
        return Poll::Ready(Broken::Limit(limit));
    }
    watch.register(context);
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::deadline::Deadlines;
    use crate::virtual_stream::virtual_pair;

    #[tokio::test(flavor = "current_thread")]
    async fn a_wait_for_the_peer_begins_only_with_something_to_write() {
        let watch = Rc::new(Deadlines::default()).watch(&Rc::new(Clock::new()));
        let (near, _far) = virtual_pair();
        let mut peer = Peer::new(Stream::Virtual(Box::new(near)), Rc::default());
        watch.arm(Limit::ClientIdle, 1000);

        let nothing = peer.write_both(&watch, b"", b"", 1000).await;
        assert!(nothing.is_ok() && watch.is_armed_for(Limit::ClientIdle));

        let body = peer.write_both(&watch, b"", b"body", 1000).await;
        assert!(body.is_ok() && watch.is_armed_for(Limit::Send));
    }
}
