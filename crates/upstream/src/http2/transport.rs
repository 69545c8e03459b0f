//! What `h2` reads from and writes to: a peer's stream, metered, with writes gathered.
//!
//! # How it works
//! `h2` writes frame by frame; each would be a system call. So what it writes is gathered here, its flush does nothing, and
//! the connection's task sends all of it at once when `h2` has nothing more to do: with responses on ten streams in one turn
//! of the loop, one call instead of ten.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use headgate_wire::FrameMeter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use headgate_net::clock::Clock;
use headgate_net::peer::{Buffers, Peer, BUFFER_BYTES};

/// The identifier and the value of a setting (RFC 9113 section 6.5.1).
pub type Setting = (u16, u32);

const SETTING_BYTES: u32 = 6;

const FRAME_HEAD_BYTES: usize = 9;

/// One end is `h2`'s, the other the task's.
pub struct Transport<P>(pub Rc<RefCell<Wire<P>>>);

/// See the module. `P` is, or holds, the peer.
pub struct Wire<P> {
    /// Has the peer.
    pub owner: P,
    /// Looks at what comes.
    pub meter: Option<FrameMeter>,
    clock: Rc<Clock>,
    buffers: Rc<Buffers>,
    out: Vec<u8>,
    written: usize,
    /// What the first frame, of settings, is to say besides what `h2` says in it.
    setting: Option<Setting>,
    /// All bytes that have left: whoever takes them is alive.
    pub sent: u64,
    /// `h2` had more to write than was taken, since this was looked at last.
    pub has_refused: bool,
}

/// Who has a peer.
pub trait HasPeer {
    /// The peer.
    fn peer(&mut self) -> &mut Peer;
}

impl HasPeer for Peer {
    fn peer(&mut self) -> &mut Peer {
        self
    }
}

impl<P: HasPeer> Wire<P> {
    /// A wire on which nothing was sent.
    pub fn new(owner: P, meter: Option<FrameMeter>, clock: Rc<Clock>, buffers: Rc<Buffers>) -> Self {
        Self {
            owner,
            meter,
            clock,
            buffers,
            out: Vec::new(),
            written: 0,
            setting: None,
            sent: 0,
            has_refused: false,
        }
    }

    /// The first frame, of settings, says this as well.
    #[must_use]
    pub fn with_setting(mut self, setting: Setting) -> Self {
        self.setting = Some(setting);
        self
    }

    /// Sends what is gathered.
    pub fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let stream = &mut self.owner.peer().stream;
            let n = ready!(stream.poll_write(context, &self.out[self.written..], &[]))?;
            self.written += n;
            self.sent += n as u64;
        }
        if self.out.capacity() > 0 {
            self.written = 0;
            self.buffers.give(std::mem::take(&mut self.out));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gather(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.out.capacity() == 0 {
            self.out = self.buffers.take();
        }
        if self.out.len() == self.out.capacity() {
            let sent = self.poll_send(context);
            self.has_refused |= sent.is_pending();
            ready!(sent)?;
            self.out = self.buffers.take();
        }
        if let Some(setting) = self.setting.take() {
            return Poll::Ready(Ok(gather_settings(&mut self.out, bytes, setting)));
        }
        let n = bytes.len().min(self.out.capacity() - self.out.len());
        self.out.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }
}

/// Takes a frame of settings with one setting more: how many of the bytes it had.
fn gather_settings(out: &mut Vec<u8>, bytes: &[u8], (id, value): Setting) -> usize {
    let Some((length, rest)) = bytes.split_first_chunk::<3>() else {
        return 0;
    };
    let [high, middle, low] = *length;
    let length = u32::from_be_bytes([0, high, middle, low]);
    let end = bytes.len().min(FRAME_HEAD_BYTES + length as usize);
    out.extend_from_slice(&(length + SETTING_BYTES).to_be_bytes()[1..]);
    out.extend_from_slice(&rest[..end - 3]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&value.to_be_bytes());
    end
}

impl<P: HasPeer> AsyncRead for Transport<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        if wire.meter.as_ref().is_some_and(|meter| meter.flood().is_some()) {
            // the task sees it when this returns; nothing more is read
            return Poll::Pending;
        }
        let peer = wire.owner.peer();
        if peer.unread().is_empty() && ready!(peer.poll_fill(context, BUFFER_BYTES))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let n = peer.unread().len().min(buffer.remaining());
        let bytes = &peer.unread()[..n];
        if let Some(meter) = &mut wire.meter {
            meter.see(bytes, wire.clock.now_ms());
        }
        buffer.put_slice(bytes);
        peer.consume(n);
        Poll::Ready(Ok(()))
    }
}

impl<P: HasPeer> AsyncWrite for Transport<P> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        let mut taken = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match wire.poll_gather(context, slice) {
                Poll::Ready(Ok(n)) => {
                    taken += n;
                    if n < slice.len() {
                        break;
                    }
                }
                Poll::Ready(Err(_)) | Poll::Pending if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The task sends; see the module.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        ready!(wire.poll_send(context))?;
        wire.owner.peer().stream.poll_shutdown(context)
    }
}
