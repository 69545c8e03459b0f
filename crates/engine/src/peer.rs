//! A stream with what was read from it and not yet used, and the pool of large buffers that reading borrows from.
//!
//! # How it works
//! A read goes into a 64 KB buffer from the worker's pool. While a peer has nothing unread it holds no buffer at all;
//! while it waits with some bytes unread it holds them in a vector of just their size. So an idle connection costs no
//! buffer and a slow peer costs its unread bytes. In front of what is read a little room stays free, so that a head
//! written anew can stand right before its body and both leave in one slice.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use crate::deadline::Watched;
use crate::limits::Limit;
use crate::pipe::Pipes;
use crate::stream::Stream;
use crate::tls::TlsStream;
use crate::turns::{Turn, Turns};

/// The size of a pooled buffer, and the most that is read at once.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// The room in front: a head that grew by more is written as a slice of its own.
const HEADROOM: usize = 512;

const POOLED_BUFFERS: usize = 64;

/// Larger heads are rare, and their vectors are not worth keeping.
const MAX_SCRAP_BYTES: usize = 8 * 1024;

/// Free buffers of a worker, each with `HEADROOM` bytes of no meaning.
#[derive(Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    scrap: Cell<Vec<u8>>,
    pipes: Pipes,
    pub(crate) turns: Turns,
}

impl Buffers {
    /// An empty buffer of at least [`BUFFER_BYTES`].
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut buffer = self.take_with_room();
        buffer.clear();
        buffer
    }

    /// One that begins with the room for a head.
    fn take_with_room(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut buffer = Vec::with_capacity(HEADROOM + BUFFER_BYTES);
            buffer.resize(HEADROOM, 0);
            buffer
        })
    }

    /// Takes one back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        // one that has grown is not worth keeping
        if !is_pooled(&buffer) || buffer.capacity() > 2 * BUFFER_BYTES {
            return;
        }
        let mut free = self.free.borrow_mut();
        if free.len() < POOLED_BUFFERS {
            buffer.resize(HEADROOM, 0);
            free.push(buffer);
        }
    }

    /// An empty vector to write a head into.
    pub(crate) fn scrap(&self) -> Vec<u8> {
        self.scrap.take()
    }

    /// Keeps such a vector for the next head.
    pub(crate) fn keep_scrap(&self, mut scrap: Vec<u8>) {
        if scrap.capacity() <= MAX_SCRAP_BYTES {
            scrap.clear();
            self.scrap.set(scrap);
        }
    }
}

/// Whether it is one of the pool's and not one of just the size of what is unread.
fn is_pooled(buffer: &Vec<u8>) -> bool {
    buffer.capacity() >= BUFFER_BYTES
}

/// A stream and its unread bytes.
pub(crate) struct Peer {
    pub(crate) stream: Stream,
    data: Vec<u8>,
    start: usize,
    buffers: Rc<Buffers>,
}

/// Why a read or write ended.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer closed before it should have.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// A timeout.
    Limit(Limit),
}

impl Peer {
    pub(crate) fn new(stream: Stream, buffers: Rc<Buffers>) -> Self {
        Self {
            stream,
            data: Vec::new(),
            start: 0,
            buffers,
        }
    }

    /// Puts a TLS session in the stream's place; `received` was read from the stream before.
    pub(crate) fn wrap(&mut self, session: rustls::Connection, received: Vec<u8>) -> &mut TlsStream {
        let below = std::mem::replace(&mut self.stream, Stream::nowhere());
        let secured = TlsStream::new(below, session, received, Rc::clone(&self.buffers));
        self.stream = Stream::Tls(Box::new(secured));
        match &mut self.stream {
            Stream::Tls(secured) => secured,
            _ => unreachable!("it was put there just now"),
        }
    }

    /// What was read and not used, which is used then.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unread().to_vec();
        self.consume(unread.len());
        unread
    }

    /// The worker's pipes.
    pub(crate) fn pipes(&self) -> &Pipes {
        &self.buffers.pipes
    }

    /// The line of the worker's transfers.
    pub(crate) fn turns(&self) -> &Turns {
        &self.buffers.turns
    }

    /// What was read and not used.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// Marks `n` bytes as used.
    pub(crate) fn consume(&mut self, n: usize) {
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
    pub(crate) fn prepend(&mut self, bytes: &[u8]) -> bool {
        if self.unread().is_empty() || bytes.len() > self.start {
            return false;
        }
        let start = self.start - bytes.len();
        self.data[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Keeps only the unread bytes, in a vector of their size.
    pub(crate) fn settle(&mut self) {
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
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        self.make_room()?;
        let read = self.stream.poll_read(context, &mut self.data, limit);
        self.tidy(read.is_pending());
        read
    }

    /// As [`Peer::poll_fill`], for heads: they are short, and nearly always here when the task is woken.
    pub(crate) fn poll_fill_head(
        &mut self,
        context: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
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

    /// As [`Peer::poll_fill`], of a transfer that takes turns with others.
    pub(crate) fn poll_fill_in_turn(
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
    pub(crate) fn waits(&mut self, context: &mut Context<'_>) -> bool {
        self.data.is_empty()
            && self.stream.socket().is_some()
            && self.stream.poll_read_ready(context).is_pending()
    }

    /// As [`Peer::poll_fill_head`], within the watch's deadline. An end is [`Broken::Closed`].
    pub(crate) async fn fill(&mut self, watch: &Watched, limit: usize) -> Result<usize, Broken> {
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
    pub(crate) async fn shutdown(&mut self, watch: &Watched) -> bool {
        poll_fn(|context| watched(self.stream.poll_shutdown(context), watch, context))
            .await
            .is_ok()
    }

    /// Writes all of `bytes`, within the watch's deadline, armed anew (`ms`) after each progress.
    pub(crate) async fn write_all(&mut self, watch: &Watched, bytes: &[u8], ms: u64) -> Result<(), Broken> {
        self.write_both(watch, bytes, &[], ms).await
    }

    /// The same for two slices.
    pub(crate) async fn write_both(
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
        poll_fn(|context| {
            while !first.is_empty() || !second.is_empty() {
                let written = self.stream.poll_write(context, first, second);
                let n = match ready!(watched(written, watch, context)) {
                    Ok(n) => n,
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
pub(crate) fn watched<T>(
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
pub(crate) fn late(watch: &Watched, context: &Context<'_>) -> Poll<Broken> {
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
