//! A connection, and what is known of it before its handshake is complete.

use std::future::{poll_fn, Future};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn_proto::{ConnectionError, ConnectionStats, Dir, StreamId, VarInt};

use super::link::User;
use super::session::Agreed;
use super::streams::{ReceiveStream, SendStream};

/// A connection whose handshake is under way. One that is dropped is closed.
pub struct Connecting(User);

impl Connecting {
    pub(super) fn new(user: User) -> Self {
        Self(user)
    }

    /// Waits for the client's first message.
    pub async fn hello(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|context| {
            if self.0.has_hello() {
                return Poll::Ready(Ok(()));
            }
            if let Some(lost) = self.0.lost() {
                return Poll::Ready(Err(lost));
            }
            self.0.wait_for_handshake(context);
            Poll::Pending
        })
        .await
    }

    /// The connection as it is, and when it is complete (0-RTT, and 0.5-RTT for who accepts it).
    pub fn into_early(self) -> (Connection, Completed) {
        (Connection(self.0.clone()), Completed(self.0))
    }
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectionError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(poll_completed(&self.0, context))?;
        Poll::Ready(Ok(Connection(self.0.clone())))
    }
}

/// The end of a handshake.
pub struct Completed(User);

impl Future for Completed {
    type Output = Result<(), ConnectionError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_completed(&self.0, context)
    }
}

fn poll_completed(user: &User, context: &Context<'_>) -> Poll<Result<(), ConnectionError>> {
    if let Some(lost) = user.lost() {
        return Poll::Ready(Err(lost));
    }
    if user.is_connected() {
        return Poll::Ready(Ok(()));
    }
    user.wait_for_handshake(context);
    Poll::Pending
}

/// A connection. It is closed when neither this, nor a copy of it, nor a stream is left.
#[derive(Clone)]
pub struct Connection(User);

impl Connection {
    /// The next stream of both directions that the peer has opened. One task of a connection may wait for streams.
    pub fn poll_accept(
        &self,
        context: &Context<'_>,
    ) -> Poll<Result<(SendStream, ReceiveStream), ConnectionError>> {
        let id = ready!(self.poll_opened(Dir::Bi, context))?;
        let receive = ReceiveStream::new(self.0.clone(), id);
        Poll::Ready(Ok((SendStream::new(self.0.clone(), id), receive)))
    }

    /// The same for streams of one direction.
    pub fn poll_accept_one_way(&self, context: &Context<'_>) -> Poll<Result<ReceiveStream, ConnectionError>> {
        let id = ready!(self.poll_opened(Dir::Uni, context))?;
        Poll::Ready(Ok(ReceiveStream::new(self.0.clone(), id)))
    }

    fn poll_opened(&self, direction: Dir, context: &Context<'_>) -> Poll<Result<StreamId, ConnectionError>> {
        let opened = self.0.state.borrow_mut().streams().accept(direction);
        if let Some(id) = opened {
            return Poll::Ready(Ok(id));
        }
        if let Some(lost) = self.0.lost() {
            return Poll::Ready(Err(lost));
        }
        self.0.wait_for_streams(context);
        Poll::Pending
    }

    /// Waits until a stream of one direction may be opened, and opens it.
    pub async fn open_one_way(&self) -> Result<SendStream, ConnectionError> {
        let id = poll_fn(|context| self.poll_id(Dir::Uni, context)).await?;
        Ok(SendStream::new(self.0.clone(), id))
    }

    /// The same for one of both directions.
    pub fn poll_open(
        &self,
        context: &Context<'_>,
    ) -> Poll<Result<(SendStream, ReceiveStream), ConnectionError>> {
        let id = ready!(self.poll_id(Dir::Bi, context))?;
        let receive = ReceiveStream::new(self.0.clone(), id);
        Poll::Ready(Ok((SendStream::new(self.0.clone(), id), receive)))
    }

    fn poll_id(&self, direction: Dir, context: &Context<'_>) -> Poll<Result<StreamId, ConnectionError>> {
        if let Some(lost) = self.0.lost() {
            return Poll::Ready(Err(lost));
        }
        let opened = self.0.state.borrow_mut().streams().open(direction);
        if let Some(id) = opened {
            return Poll::Ready(Ok(id));
        }
        self.0.wait_to_open(context);
        Poll::Pending
    }

    /// Ends it at once, with a code and a reason that the peer is told.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        if self.0.lost().is_none() {
            self.0.close(code, Bytes::copy_from_slice(reason));
        }
    }

    /// Why it is over, once it is.
    pub fn lost(&self) -> Option<ConnectionError> {
        self.0.lost()
    }

    /// How long a packet and its acknowledgement are on their way.
    pub fn round_trip(&self) -> Duration {
        self.0.state.borrow().rtt()
    }

    /// Where the peer is at present.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.state.borrow().remote_address()
    }

    /// What was counted. It costs as much as a copy of a kilobyte.
    pub fn statistics(&self) -> ConnectionStats {
        self.0.state.borrow().stats()
    }

    /// What the handshake of a connection that was accepted has agreed on; nothing before the client's first message.
    pub fn agreed(&self) -> Agreed {
        let data = self.0.state.borrow().crypto_session().handshake_data();
        let agreed = data.and_then(|data| data.downcast::<Agreed>().ok());
        agreed.map(|agreed| *agreed).unwrap_or_default()
    }

    /// How many streams of both directions the peer has open.
    pub fn open_streams(&self) -> u64 {
        self.0.state.borrow_mut().streams().remote_open_streams(Dir::Bi)
    }

    /// How many the peer may have open at once, from now on.
    pub fn set_max_streams(&self, count: u32) {
        let mut state = self.0.state.borrow_mut();
        state.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(count));
        drop(state);
        self.0.changed();
    }
}
