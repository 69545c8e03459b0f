//! The two halves of a stream.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_proto::{ConnectionError, FinishError, ReadError, StreamId, VarInt, WriteError};

use super::link::{User, Wait};

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// The peer has given it up, with that code.
    GivenUp(VarInt),
    /// Its connection is over.
    Lost(ConnectionError),
    /// This side has ended it.
    Closed,
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GivenUp(code) => write!(formatter, "given up by the peer: {code}"),
            Self::Lost(error) => error.fmt(formatter),
            Self::Closed => formatter.write_str("the stream is closed"),
        }
    }
}

impl std::error::Error for StreamError {}

/// The half that this side writes. One that is dropped is finished.
pub struct SendStream {
    user: User,
    id: StreamId,
}

impl SendStream {
    pub(super) fn new(user: User, id: StreamId) -> Self {
        Self { user, id }
    }

    /// Its number within the connection (RFC 9000 section 2.1).
    pub fn id(&self) -> u64 {
        self.id.into()
    }

    /// Takes bytes: how many. Pending while the peer's windows, or the buffer, have no room.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        if let Some(lost) = self.user.lost() {
            return Poll::Ready(Err(StreamError::Lost(lost)));
        }
        let written = self.user.state.borrow_mut().send_stream(self.id).write(bytes);
        match written {
            Ok(n) => {
                self.user.changed();
                Poll::Ready(Ok(n))
            }
            Err(WriteError::Blocked) => {
                // that it is blocked may have to be said
                self.user.changed();
                let waiting = self.user.wait(self.id(), Wait::Write, context);
                waiting.map_err(StreamError::Lost)
            }
            Err(WriteError::Stopped(code)) => Poll::Ready(Err(StreamError::GivenUp(code))),
            Err(WriteError::ClosedStream) => Poll::Ready(Err(StreamError::Closed)),
        }
    }

    /// Waits until all of it is taken.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let n = poll_fn(|context| self.poll_write(context, bytes)).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Says that nothing follows. Nothing happens if the peer has given it up, or it is ended already.
    pub fn finish(&mut self) {
        let finished = self.user.state.borrow_mut().send_stream(self.id).finish();
        if finished.is_ok() {
            self.user.changed();
        }
    }

    /// Gives it up, with that code. Nothing happens if it is ended already.
    pub fn reset(&mut self, code: VarInt) {
        let reset = self.user.state.borrow_mut().send_stream(self.id).reset(code);
        if reset.is_ok() {
            self.user.changed();
        }
    }

    /// Has it sent before streams with a lower number, and behind those with a higher one.
    pub fn set_priority(&self, priority: i32) {
        // it fails only for a stream that is ended
        let _ = self
            .user
            .state
            .borrow_mut()
            .send_stream(self.id)
            .set_priority(priority);
    }

    /// What becomes of it, to be asked for when this is given away.
    pub fn stopped(&self) -> Stopped {
        Stopped {
            user: self.user.clone(),
            id: self.id,
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.user.forget(self.id(), Wait::Write);
        if self.user.lost().is_some() {
            return;
        }
        let mut state = self.user.state.borrow_mut();
        let mut stream = state.send_stream(self.id);
        let has_changed = match stream.finish() {
            Ok(()) => true,
            Err(FinishError::Stopped(code)) => stream.reset(code).is_ok(),
            Err(FinishError::ClosedStream) => false,
        };
        drop(state);
        if has_changed {
            self.user.changed();
        }
    }
}

/// See [`SendStream::stopped`].
pub struct Stopped {
    user: User,
    id: StreamId,
}

impl Stopped {
    /// Ready when the peer has given the stream up, or has all of it, or the connection is over.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let stopped = self.user.state.borrow_mut().send_stream(self.id).stopped();
        match stopped {
            Ok(None) => self
                .user
                .wait::<()>(self.id.into(), Wait::Stopped, context)
                .map(drop),
            Ok(Some(_)) | Err(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.user.forget(self.id.into(), Wait::Stopped);
    }
}

/// The half that the peer writes. One that is dropped before its end is given up.
pub struct ReceiveStream {
    user: User,
    id: StreamId,
    is_early: bool,
    is_done: bool,
    /// What the peer has given it up with.
    given_up: Option<VarInt>,
}

impl ReceiveStream {
    pub(super) fn new(user: User, id: StreamId) -> Self {
        let is_early = user.state.borrow().is_handshaking();
        Self {
            user,
            id,
            is_early,
            is_done: false,
            given_up: None,
        }
    }

    /// Its number within the connection (RFC 9000 section 2.1).
    pub fn id(&self) -> u64 {
        self.id.into()
    }

    /// Whether it was opened before the handshake was complete.
    pub fn is_early(&self) -> bool {
        self.is_early
    }

    /// The next bytes, at most so many. `None`: the peer has ended the stream.
    pub fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        if let Some(code) = self.given_up {
            return Poll::Ready(Err(StreamError::GivenUp(code)));
        }
        if self.is_done {
            return Poll::Ready(Ok(None));
        }
        let mut state = self.user.state.borrow_mut();
        let mut stream = state.recv_stream(self.id);
        let Ok(mut chunks) = stream.read(true) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        let read = chunks.next(most);
        let is_to_send = chunks.finalize().should_transmit();
        drop(state);
        if is_to_send {
            self.user.changed();
        }
        match read {
            Ok(Some(chunk)) => Poll::Ready(Ok(Some(chunk.bytes))),
            Ok(None) => {
                self.is_done = true;
                Poll::Ready(Ok(None))
            }
            Err(ReadError::Reset(code)) => {
                self.is_done = true;
                self.given_up = Some(code);
                Poll::Ready(Err(StreamError::GivenUp(code)))
            }
            Err(ReadError::Blocked) => {
                let waiting = self.user.wait(self.id(), Wait::Read, context);
                waiting.map_err(StreamError::Lost)
            }
        }
    }

    /// Waits for the next bytes; see [`Self::poll_chunk`].
    pub async fn chunk(&mut self, most: usize) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|context| self.poll_chunk(context, most)).await
    }

    /// Asks the peer to send no more, with that code.
    pub fn stop(&mut self, code: VarInt) {
        let stopped = self.user.state.borrow_mut().recv_stream(self.id).stop(code);
        if stopped.is_ok() {
            self.user.changed();
        }
        self.is_done = true;
        self.user.forget(self.id(), Wait::Read);
    }
}

impl Drop for ReceiveStream {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.user.forget(self.id(), Wait::Read);
        if self.user.lost().is_none() {
            self.stop(VarInt::from_u32(0));
        }
    }
}
