//! Pipes of the kernel, through which bytes move from one socket to another without a copy into this process (splice(2)),
//! and the worker's spare ones.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{fcntl_setpipe_size, pipe_with, tee, PipeFlags, SpliceFlags};

use crate::turns::Turn;

/// The most that a pipe is filled with. More is no faster on one machine, and as many slow clients hold as many full.
/// With its framing it still fits into one packet of the loopback interface, whose like wake the peer once each.
pub const PIPE_BYTES: usize = 60 * 1024;

/// A pipe's size counts pages, but a socket's bytes do not fill theirs: with just as many, it would be full too early.
const PIPE_SIZE: usize = 128 * 1024;

/// So many empty pipes are kept for the next bodies.
const SPARE_PIPES: usize = 64;

/// The empty pipes of a worker.
#[derive(Default)]
pub struct Pipes {
    #[allow(clippy::vec_box)] // why: a piece carries its pipe as one word, and the box is used again
    spare: RefCell<Vec<Box<Pipe>>>,
    /// Into which copies go that are read at once.
    copier: Cell<Option<Box<Pipe>>>,
}

/// A pipe and how many bytes are in it.
pub struct Pipe {
    pub(crate) from: OwnedFd,
    pub(crate) to: OwnedFd,
    /// Bytes in it.
    pub filled: usize,
    pub(crate) turn: Turn,
}

impl Pipes {
    /// An empty one.
    #[inline]
    pub fn take(&self) -> io::Result<Box<Pipe>> {
        let spare = self.spare.borrow_mut().pop();
        spare.map_or_else(|| Pipe::open().map(Box::new), Ok)
    }

    /// Takes an empty one back.
    #[inline]
    pub fn give(&self, pipe: Box<Pipe>) {
        debug_assert_eq!(pipe.filled, 0);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    }

    /// What a pipe holds, to be looked at. It stays in the pipe too, unless the system cannot do that (tee(2)).
    ///
    /// `read` takes so many bytes out of a pipe, or errs.
    #[inline]
    pub fn look<T>(
        &self,
        pipe: &mut Pipe,
        read: impl Fn(usize, BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.copy(pipe, &read).or_else(|_| pipe.empty(&read))
    }

    /// Errs unless all could be copied; the pipe is as it was then.
    fn copy<T>(&self, pipe: &Pipe, read: impl Fn(usize, BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        let copier = match self.copier.take() {
            Some(copier) => copier,
            None => Box::new(Pipe::open()?),
        };
        if tee(&pipe.from, &copier.to, pipe.filled, SpliceFlags::NONBLOCK)? < pipe.filled {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let taken = read(pipe.filled, copier.from.as_fd())?;
        self.copier.set(Some(copier));
        Ok(taken)
    }
}

impl Pipe {
    /// Opens one.
    pub fn open() -> io::Result<Self> {
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

    /// What the pipe holds, taken out by `read`, which takes so many bytes or errs.
    #[inline]
    pub fn empty<T>(&mut self, read: impl Fn(usize, BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        let taken = read(self.filled, self.from.as_fd())?;
        self.filled = 0;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(length: usize, pipe: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut bytes))?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

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
            assert_eq!(pipes.look(&mut pipe, read).unwrap(), bytes);
            assert_eq!(pipe.filled, length);
            assert_eq!(pipe.empty(read).unwrap(), bytes);
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
        assert_eq!(pipes.look(&mut pipe, read).unwrap(), bytes);
        assert_eq!(pipe.filled, 0);
        // half a copy is not left for the next one
        let mut next = filled(b"next");
        assert_eq!(pipes.look(&mut next, read).unwrap(), b"next");
    }
}
