//! Moving bytes between a peer's socket and a pipe.

use std::io;
use std::task::{ready, Context, Poll};

use rustix::pipe::{splice, SpliceFlags};
use tokio::io::Interest;

use crate::peer::Peer;
use crate::pipe::{Pipe, PIPE_BYTES};

impl Pipe {
    /// Moves bytes from a socket into the pipe. 0 means the peer's end.
    pub fn poll_fill(
        &self,
        context: &mut Context<'_>,
        server: &mut Peer,
        left: u64,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIPE_BYTES);
        loop {
            ready!(server.stream.poll_read_ready(context))?;
            let moved = server.stream.try_io(Interest::READABLE, |socket| {
                Ok(splice(
                    socket,
                    None,
                    &self.to,
                    None,
                    most,
                    SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
                )?)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Moves what the pipe holds to a socket, in turn with other transfers.
    pub fn poll_drain_in_turn(
        &mut self,
        context: &mut Context<'_>,
        client: &Peer,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(client.stream.poll_write_ready(context))?;
            ready!(client.turns().poll(context, &mut self.turn));
            match self.drain(client) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.turns().give_back(),
                other => return Poll::Ready(other),
            }
        }
    }

    /// The same for a part that has had its turn when it was read.
    pub fn poll_drain(&mut self, context: &mut Context<'_>, client: &Peer) -> Poll<io::Result<usize>> {
        loop {
            ready!(client.stream.poll_write_ready(context))?;
            match self.drain(client) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn drain(&mut self, client: &Peer) -> io::Result<usize> {
        let n = client.stream.try_io(Interest::WRITABLE, |socket| {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(&self.from, None, socket, None, self.filled, flags)?)
        })?;
        self.filled -= n;
        Ok(n)
    }
}
