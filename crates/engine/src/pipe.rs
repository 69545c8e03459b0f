//! Pipes of the kernel, through which bytes move from one socket to another without a copy into this process (splice(2)),
//! and the worker's spare ones.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{ready, Context, Poll};

use rustix::pipe::{fcntl_setpipe_size, pipe_with, splice, tee, PipeFlags, SpliceFlags};
use tokio::io::Interest;

use crate::hooks::Hooks;
use crate::http::bodies::piece::Chunk;
use crate::peer::Peer;
use crate::turns::Turn;

/// The most that a pipe is filled with. More is no faster on one machine, and as many slow clients hold as many full.
/// With its framing it still fits into one packet of the loopback interface, whose like wake the peer once each.
pub(crate) const PIPE_BYTES: usize = 60 * 1024;

/// A pipe's size counts pages, but a socket's bytes do not fill theirs: with just as many, it would be full too early.
const PIPE_SIZE: usize = 128 * 1024;

/// So many empty pipes are kept for the next bodies.
const SPARE_PIPES: usize = 64;

/// The empty pipes of a worker.
#[derive(Default)]
pub(crate) struct Pipes {
    #[allow(clippy::vec_box)] // why: a piece carries its pipe as one word, and the box is used again
    spare: RefCell<Vec<Box<Pipe>>>,
    /// Into which copies go that are read at once.
    copier: Cell<Option<Box<Pipe>>>,
}

/// A pipe and how many bytes are in it.
pub(crate) struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
    pub(crate) filled: usize,
    turn: Turn,
}

impl Pipes {
    /// An empty one.
    pub(crate) fn take(&self) -> io::Result<Box<Pipe>> {
        let spare = self.spare.borrow_mut().pop();
        spare.map_or_else(|| Pipe::open().map(Box::new), Ok)
    }

    /// Takes an empty one back.
    pub(crate) fn give(&self, pipe: Box<Pipe>) {
        debug_assert_eq!(pipe.filled, 0);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    }

    /// What a pipe holds, for hooks to look at. It stays in the pipe too, unless the system cannot do that (tee(2)).
    pub(crate) fn look(&self, pipe: &mut Pipe, hooks: &dyn Hooks) -> io::Result<Chunk> {
        self.copy(pipe, hooks).or_else(|_| pipe.empty(hooks))
    }

    /// Errs unless all could be copied; the pipe is as it was then.
    fn copy(&self, pipe: &Pipe, hooks: &dyn Hooks) -> io::Result<Chunk> {
        let copier = match self.copier.take() {
            Some(copier) => copier,
            None => Box::new(Pipe::open()?),
        };
        if tee(&pipe.from, &copier.to, pipe.filled, SpliceFlags::NONBLOCK)? < pipe.filled {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let chunk = copier.read(pipe.filled, hooks)?;
        self.copier.set(Some(copier));
        Ok(chunk)
    }
}

impl Pipe {
    pub(crate) fn open() -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // a user who has very many pipes may be refused: then it holds less
        let _ = fcntl_setpipe_size(&to, PIPE_SIZE);
        Ok(Self {
            from,
            to,
            filled: 0,
            turn: Turn::default(),
        })
    }

    /// What the pipe holds, taken out.
    pub(crate) fn empty(&mut self, hooks: &dyn Hooks) -> io::Result<Chunk> {
        let chunk = self.read(self.filled, hooks)?;
        self.filled = 0;
        Ok(chunk)
    }

    fn read(&self, length: usize, hooks: &dyn Hooks) -> io::Result<Chunk> {
        let chunk = hooks.read_pipe(length, self.from.as_fd())?;
        if chunk.bytes().len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(chunk)
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
    pub(crate) fn poll_drain_in_turn(
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
    pub(crate) fn poll_drain(&mut self, context: &mut Context<'_>, client: &Peer) -> Poll<io::Result<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::NoHooks;

    fn filled(bytes: &[u8]) -> Pipe {
        let mut pipe = Pipe::open().unwrap();
        pipe.filled = rustix::io::write(&pipe.to, bytes).unwrap();
        assert_eq!(pipe.filled, bytes.len());
        pipe
    }

    #[test]
    fn what_is_looked_at_stays() {
        let pipes = Pipes::default();
        for length in [1, 5000, PIPE_BYTES] {
            let bytes = vec![7; length];
            let mut pipe = filled(&bytes);
            assert_eq!(pipes.look(&mut pipe, &NoHooks).unwrap().bytes(), bytes);
            assert_eq!(pipe.filled, length);
            assert_eq!(pipe.empty(&NoHooks).unwrap().bytes(), bytes);
        }
    }

    #[test]
    fn what_cannot_be_copied_is_taken_out_whole() {
        let pipes = Pipes::default();
        let small = Pipe::open().unwrap();
        fcntl_setpipe_size(&small.to, 4096).unwrap();
        pipes.copier.set(Some(Box::new(small)));
        let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let mut pipe = filled(&bytes);
        assert_eq!(pipes.look(&mut pipe, &NoHooks).unwrap().bytes(), bytes);
        assert_eq!(pipe.filled, 0);
        // half a copy is not left for the next one
        let mut next = filled(b"next");
        assert_eq!(pipes.look(&mut next, &NoHooks).unwrap().bytes(), b"next");
    }
}
