//! Moving bytes from one socket to another through a pipe, without a copy into this process (splice(2)).

use std::task::{ready, Context, Poll};

use super::relay::RelayBroken;
use headgate_net::peer::{Broken, Peer};
use headgate_net::pipe::Pipe;

/// Shorter rests are copied: three system calls for the pipe would not pay.
pub(crate) const SPLICE_FROM_BYTES: u64 = 96 * 1024;

/// A pipe between two sockets.
#[derive(Default)]
pub(crate) struct Splice {
    pipe: Option<Box<Pipe>>,
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
                let n = ready!(pipe.poll_drain_in_turn(context, client))
                    .map_err(|error| RelayBroken::Client(Broken::Io(error)))?;
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
