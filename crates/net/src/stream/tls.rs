//! A TLS session on a connection, read and written like a plain one.
//!
//! # How it works
//! What comes from the socket is read into a buffer borrowed from the worker's pool, and given back as soon as rustls has
//! taken it: one system call for up to 64 KB, and no buffer while the peer is silent. What is written is encrypted at
//! once, and counts as written only when the kernel has taken it; so "written" means the same as on a plain connection,
//! no flush is needed, and a slow peer holds at most one piece of ciphertext. What ends a handshake (a client's
//! `Finished`, a server's tickets) leaves together with what is written first.

use std::io::{self, BufRead, IoSlice, Write};
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use rustls::{Connection, ProtocolVersion};

use super::{Peek, Stream};
use crate::buffers::{Buffers, BUFFER_BYTES};

/// What is encrypted at once while the peer takes all of it: a full buffer and the head before it.
const PIECE_BYTES: usize = BUFFER_BYTES + 1024;

/// And once it did not: a record.
const SLOW_PIECE_BYTES: usize = 16 * 1024;

/// See the module.
pub struct TlsStream {
    socket: Stream,
    session: Connection,
    /// Bytes from the socket that rustls has not taken, from `start` on; no buffer while there are none.
    received: Vec<u8>,
    start: usize,
    /// Plain bytes that are encrypted and not yet told as written.
    accepted: usize,
    /// The kernel did not take all that is encrypted.
    is_blocked: bool,
    /// It once did not take a piece.
    is_slow: bool,
    /// Tickets wait for the first write: they are of use only after it, and cost no system call with it.
    holds_tickets: bool,
    buffers: Rc<Buffers>,
}

impl TlsStream {
    /// Goes on with a session; `received` was read from the socket before.
    pub fn new(socket: Stream, mut session: Connection, received: Vec<u8>, buffers: Rc<Buffers>) -> Self {
        // the pieces are the bound
        session.set_buffer_limit(None);
        Self {
            socket,
            session,
            received,
            start: 0,
            accepted: 0,
            is_blocked: false,
            is_slow: false,
            holds_tickets: false,
            buffers,
        }
    }

    /// The connection below.
    #[inline]
    pub fn below(&self) -> &Stream {
        &self.socket
    }

    /// The session, for what was agreed in its handshake.
    #[inline]
    pub fn session(&self) -> &Connection {
        &self.session
    }

    /// Goes on with the handshake; ready when application data may flow.
    pub fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(context))?;
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// See [`Stream::poll_read`]. An end without the peer's close alert (RFC 8446 section 6.1) is an error: somebody may have
    /// cut the connection.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut read = 0;
            let mut reader = self.session.reader();
            while read < limit {
                match reader.fill_buf() {
                    // the end, which the next call tells again
                    Ok([]) => return Poll::Ready(Ok(read)),
                    Ok(chunk) => {
                        let n = chunk.len().min(limit - read);
                        buffer.extend_from_slice(&chunk[..n]);
                        reader.consume(n);
                        read += n;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock || read > 0 => break,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if read > 0 {
                return Poll::Ready(Ok(read));
            }
            ready!(self.poll_receive(context))?;
        }
    }

    /// See [`Stream::poll_write`].
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.accepted == 0 {
            if self.is_blocked {
                ready!(self.poll_flush(context))?;
            }
            self.holds_tickets = false;
            self.accepted = self.encrypt(first, second)?;
        }
        if self.poll_flush(context)?.is_pending() {
            self.is_slow = true;
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::take(&mut self.accepted) {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => Ok(n),
        })
    }

    /// Encrypts the beginning of both slices: head and body come into one record.
    fn encrypt(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let most = if self.is_slow {
            SLOW_PIECE_BYTES
        } else {
            PIECE_BYTES
        };
        let first = &first[..first.len().min(most)];
        let second = &second[..second.len().min(most - first.len())];
        let mut writer = self.session.writer();
        match (first.is_empty(), second.is_empty()) {
            // the usual way, which needs no list of slices
            (_, true) => writer.write(first),
            (true, false) => writer.write(second),
            (false, false) => writer.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]),
        }
    }

    /// Sends what rustls has ready.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = Socket {
                stream: &mut self.socket,
                context,
            };
            match self.session.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.is_blocked = false;
        Poll::Ready(Ok(()))
    }

    /// What the kernel does not take now goes with the next write or read, for which the task is woken.
    fn flush_if_possible(&mut self, context: &mut Context<'_>) {
        if self.session.wants_write() && !self.holds_tickets {
            // a connection that is broken this way is seen to be so by the next read
            let _ = self.poll_flush(context);
        }
    }

    /// Gives rustls what the socket has. The number of bytes; 0 at the socket's end.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.flush_if_possible(context);
        if self.received.is_empty() {
            let mut buffer = self.buffers.take();
            match self.socket.poll_read(context, &mut buffer, BUFFER_BYTES) {
                Poll::Ready(Ok(n)) if n > 0 => self.received = buffer,
                other => {
                    self.buffers.give(buffer);
                    if matches!(other, Poll::Ready(Ok(_))) {
                        self.session.read_tls(&mut io::empty())?;
                    }
                    return other;
                }
            }
        }
        let taken = self.session.read_tls(&mut &self.received[self.start..])?;
        self.start += taken;
        if self.start >= self.received.len() {
            self.start = 0;
            self.buffers.give(std::mem::take(&mut self.received));
        }
        let was_handshaking = self.session.is_handshaking();
        let processed = self.session.process_new_packets();
        if was_handshaking || processed.is_err() {
            // before TLS 1.3 the client waits for what ends the handshake
            self.holds_tickets = processed.is_ok()
                && !self.session.is_handshaking()
                && matches!(self.session, Connection::Server(_))
                && self.session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        }
        // responses to the peer's own messages, or the alert that says what was wrong
        self.flush_if_possible(context);
        match processed {
            Ok(_) => Poll::Ready(Ok(taken)),
            Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
        }
    }

    /// See [`Stream::poll_read_ready`]. Records without data (tickets, key updates) are not something to read.
    pub fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other.map(drop)),
            }
            ready!(self.poll_receive(context))?;
        }
    }

    /// See [`Stream::has_news`].
    #[inline]
    pub fn has_news(&mut self) -> bool {
        // asked of every connection of a pool: most are silent
        (self.socket.has_news() || !self.received.is_empty())
            && self
                .poll_read_ready(&mut Context::from_waker(Waker::noop()))
                .is_ready()
    }

    /// See [`Stream::peek`]; knows what [`TlsStream::poll_read_ready`] has found.
    pub fn peek(&mut self) -> Peek {
        match self.session.reader().fill_buf() {
            Ok([]) => Peek::End,
            Ok(_) => Peek::Data,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Peek::Nothing,
                io::ErrorKind::UnexpectedEof => Peek::End,
                _ => Peek::Broken,
            },
        }
    }

    /// Sends the close alert, then ends the sending side.
    #[inline]
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_flush(context))?;
        self.socket.poll_shutdown(context)
    }
}

/// A connection as rustls wants to see it.
struct Socket<'a, 'b> {
    stream: &'a mut Stream,
    context: &'a mut Context<'b>,
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.poll_write_slices(self.context, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
