//! Moving bytes from one socket to another through a pipe, without a copy into this process (splice(2)).

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{ready, Context, Poll};

use rustix::pipe::{pipe_with, splice, PipeFlags, SpliceFlags};
use tokio::io::Interest;

use super::relay::RelayBroken;
use crate::peer::{Broken, Peer};
use crate::turns::Turn;

/// Shorter rests are copied: three system calls for the pipe would not pay.
pub(crate) const SPLICE_FROM_BYTES: u64 = 96 * 1024;

/// What a pipe holds as it is made. A larger one is no faster on one machine, and as many slow clients hold as many full.
const PIPE_BYTES: usize = 64 * 1024;

/// So many empty pipes are kept for the next bodies.
const SPARE_PIPES: usize = 64;

/// A pipe between two sockets.
#[derive(Default)]
pub(crate) struct Splice {
    pipe: Option<Pipe>,
}

/// The empty pipes of a worker.
#[derive(Default)]
pub(crate) struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        self.0.borrow_mut().pop().map_or_else(Pipe::open, Ok)
    }

    fn give(&self, pipe: Pipe) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    }
}

/// See [`Splice`].
pub(crate) struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
    pub(crate) filled: usize,
    turn: Turn,
}

impl Splice {
    /// Moves `left` bytes; ready when all are written.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        left: &mut u64,
        server: &mut Peer,
        client: &mut Peer,
        written: &mut u64,
        waits_for_client: &mut bool,
    ) -> Poll<Result<(), RelayBroken>> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => none.insert(
                client
                    .pipes()
                    .take()
                    .map_err(|error| RelayBroken::Server(Broken::Io(error)))?,
            ),
        };
        while *left > 0 || pipe.filled > 0 {
            if pipe.filled > 0 {
                *waits_for_client = true;
                let n = ready!(pipe.poll_drain(context, client))
                    .map_err(|error| RelayBroken::Client(Broken::Io(error)))?;
                pipe.filled -= n;
                *written += n as u64;
                continue;
            }
            *waits_for_client = false;
            match ready!(pipe.poll_fill(context, server, *left)) {
                Ok(0) => return Poll::Ready(Err(RelayBroken::Server(Broken::Closed))),
                Ok(n) => {
                    pipe.filled = n;
                    *left -= n as u64;
                }
                Err(error) => return Poll::Ready(Err(RelayBroken::Server(Broken::Io(error)))),
            }
        }
        if let Some(empty) = self.pipe.take() {
            client.pipes().give(empty);
        }
        Poll::Ready(Ok(()))
    }
}

impl Pipe {
    pub(crate) fn open() -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self {
            from,
            to,
            filled: 0,
            turn: Turn::default(),
        })
    }

    /// Moves bytes from a socket into the pipe. 0 means the peer's end.
    pub(crate) fn poll_fill(
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
    pub(crate) fn poll_drain(&mut self, context: &mut Context<'_>, client: &Peer) -> Poll<io::Result<usize>> {
        loop {
            ready!(client.stream.poll_write_ready(context))?;
            ready!(client.turns().poll(context, &mut self.turn));
            let moved = client.stream.try_io(Interest::WRITABLE, |socket| {
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                Ok(splice(&self.from, None, socket, None, self.filled, flags)?)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.turns().give_back(),
                other => return Poll::Ready(other),
            }
        }
    }
}
