//! Noticing that a client disconnects while nothing is read from it.

use std::task::{Context, Poll};

use headgate_net::peer::Peer;
use headgate_net::stream::Peek;

/// Watches for a client's disconnect without reading from it.
pub(crate) struct DisconnectWatcher {
    is_watching: bool,
    allow_half_close: bool,
}

impl DisconnectWatcher {
    pub(crate) fn new(allow_half_close: bool) -> Self {
        Self {
            is_watching: true,
            allow_half_close,
        }
    }

    /// True once the client is gone; else has the task woken when that may have changed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, client: &mut Peer) -> bool {
        while self.is_watching {
            match client.stream.poll_read_ready(context) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => match client.stream.peek() {
                    // the readiness was stale: check again, which registers the task
                    Peek::Nothing => {}
                    // the next request, already: it hides whatever comes after it
                    Peek::Data => self.is_watching = false,
                    Peek::End => {
                        if !self.allow_half_close {
                            return true;
                        }
                        self.is_watching = false;
                    }
                    Peek::Broken => return true,
                },
            }
        }
        false
    }
}
