//! Bytes both ways between two peers, after an upgrade.

use std::future::poll_fn;
use std::io;
use std::task::{ready, Context, Poll};

use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_net::turns::Turn;

/// One direction of a tunnel.
#[derive(Default)]
struct TunnelDirection {
    is_ended: bool,
    is_shut: bool,
    moved: u64,
    turn: Turn,
}

/// Bytes moved from the client and from the server.
#[derive(Default, Clone, Copy)]
pub(crate) struct TunnelBytes {
    pub(crate) from_client: u64,
    pub(crate) from_server: u64,
}

/// What ended a tunnel before both sides had.
pub(crate) enum TunnelBroken {
    /// Neither side has sent anything for too long, or the server was removed.
    Late(Limit),
    /// The client's connection broke.
    Client,
    /// The server's did.
    Server(io::Error),
}

/// Which end of a direction broke.
enum EndBroken {
    Source(io::Error),
    Target(io::Error),
}

/// Carries bytes until both sides have ended, one breaks, or neither sends for `idle_ms`.
pub(crate) async fn tunnel(
    client: &mut Peer,
    server: &mut Peer,
    watch: &Watched,
    idle_ms: u64,
) -> (TunnelBytes, Result<(), TunnelBroken>) {
    let mut up = TunnelDirection::default();
    let mut down = TunnelDirection::default();
    watch.arm(Limit::UpstreamIdle, idle_ms);
    let result = poll_fn(|context| {
        let before = up.moved + down.moved;
        let upward = up.poll(context, client, server);
        let downward = down.poll(context, server, client);
        if before != up.moved + down.moved {
            watch.arm(Limit::UpstreamIdle, idle_ms);
        }
        match (upward, downward) {
            (Poll::Ready(Err(EndBroken::Target(error))), _)
            | (_, Poll::Ready(Err(EndBroken::Source(error)))) => {
                Poll::Ready(Err(TunnelBroken::Server(error)))
            }
            (Poll::Ready(Err(EndBroken::Source(_))), _) | (_, Poll::Ready(Err(EndBroken::Target(_)))) => {
                Poll::Ready(Err(TunnelBroken::Client))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => {
                if let Some(limit) = watch.expired() {
                    return Poll::Ready(Err(TunnelBroken::Late(limit)));
                }
                watch.register(context);
                Poll::Pending
            }
        }
    })
    .await;
    (
        TunnelBytes {
            from_client: up.moved,
            from_server: down.moved,
        },
        result,
    )
}

impl TunnelDirection {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Peer,
        to: &mut Peer,
    ) -> Poll<Result<(), EndBroken>> {
        loop {
            while !from.unread().is_empty() {
                let Poll::Ready(written) = to.stream.poll_write(context, from.unread(), &[]) else {
                    from.settle();
                    return Poll::Pending;
                };
                let n = written.map_err(EndBroken::Target)?;
                from.consume(n);
                self.moved += n as u64;
            }
            if self.is_ended {
                if !self.is_shut {
                    // a peer that is gone already cannot be notified
                    let _ = ready!(to.stream.poll_shutdown(context));
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let filled = ready!(from.poll_fill_in_turn(context, BUFFER_BYTES, &mut self.turn));
            self.is_ended = filled.map_err(EndBroken::Source)? == 0;
        }
    }
}
