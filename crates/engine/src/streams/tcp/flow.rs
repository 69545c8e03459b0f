//! Bytes both ways between a client and a server, until both have ended.
//!
//! # How it works
//! Each direction moves as fast as its receiver takes, and ends by itself: who has finished sending may still receive
//! (half-close). The first bytes are copied, which is cheapest for what is short; a direction that has carried more goes on
//! through a pipe in the kernel (splice), unless a hook wants to see its bytes.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use super::filter::{filter, Filtering};
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::ConnectionState;
use crate::snapshot::{HookLists, Phase};
use crate::state::Shared;
use headgate_net::limits::Limit;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_net::pipe::Pipe;
use headgate_net::turns::Turn;

/// A direction that has carried so much is likely to carry more: a pipe pays.
const SPLICE_AFTER_BYTES: u64 = 64 * 1024;

/// As much as is read from a pipe at once.
const SPLICE_BYTES: u64 = 1 << 20;

/// Bytes moved from the client and from the server.
#[derive(Default, Clone, Copy)]
pub(super) struct FlowBytes {
    pub(super) from_client: u64,
    pub(super) from_server: u64,
}

/// Why bytes stopped before both sides had ended.
pub(super) enum FlowEnd {
    Late(Limit),
    /// The client's connection broke.
    Client,
    /// The server's did.
    Server(io::Error),
    /// Within the gateway.
    Pipe,
    ByHook,
    HookFailed,
}

/// Why one direction stopped.
pub(super) enum Stopped {
    Source(io::Error),
    Target(io::Error),
    Pipe,
    ByHook,
    HookFailed,
}

impl Stopped {
    /// Of the direction to the server.
    fn upward(self) -> FlowEnd {
        match self {
            Self::Source(_) => FlowEnd::Client,
            Self::Target(error) => FlowEnd::Server(error),
            other => other.inside(),
        }
    }

    /// Of the direction to the client.
    fn downward(self) -> FlowEnd {
        match self {
            Self::Source(error) => FlowEnd::Server(error),
            Self::Target(_) => FlowEnd::Client,
            other => other.inside(),
        }
    }

    fn inside(self) -> FlowEnd {
        match self {
            Self::ByHook => FlowEnd::ByHook,
            Self::HookFailed => FlowEnd::HookFailed,
            Self::Source(_) | Self::Target(_) | Self::Pipe => FlowEnd::Pipe,
        }
    }
}

/// What bounds a flow, and who sees it.
pub(super) struct FlowOptions<'a> {
    pub(super) tables: &'a Rc<Configuration>,
    pub(super) shared: &'a Rc<Shared>,
    pub(super) state: &'a Rc<ConnectionState>,
    pub(super) hooks: &'a HookLists,
    /// What the server is known by.
    pub(super) server: u64,
    pub(super) idle_ms: u64,
    /// 0 for no bound.
    pub(super) lifetime_ms: u64,
}

/// Carries bytes until both sides have ended, one breaks, a limit is hit or a hook ends it.
pub(super) async fn flow(
    client: &mut Peer,
    server: &mut Peer,
    options: &FlowOptions<'_>,
) -> (FlowBytes, Result<(), FlowEnd>) {
    let may_splice = client.stream.socket().is_some() && server.stream.socket().is_some();
    let mut up = FlowDirection::new(&options.hooks[Phase::ClientData], may_splice);
    let mut down = FlowDirection::new(&options.hooks[Phase::ServerData], may_splice);
    let shared = options.shared;
    let idle = shared.deadlines.watch(&shared.clock);
    idle.bind(options.server);
    idle.arm(Limit::TcpIdle, options.idle_ms);
    let life = (options.lifetime_ms > 0).then(|| {
        let watch = shared.deadlines.watch(&shared.clock);
        watch.arm(Limit::TcpLifetime, options.lifetime_ms);
        watch
    });
    let result = poll_fn(|context| {
        let before = up.moved + down.moved;
        let upward = up.poll(context, client, server, options);
        let downward = down.poll(context, server, client, options);
        if before != up.moved + down.moved {
            idle.arm(Limit::TcpIdle, options.idle_ms);
        }
        match (upward, downward) {
            (Poll::Ready(Err(stopped)), _) => return Poll::Ready(Err(stopped.upward())),
            (_, Poll::Ready(Err(stopped))) => return Poll::Ready(Err(stopped.downward())),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => {}
        }
        for watch in [Some(&idle), life.as_ref()].into_iter().flatten() {
            if let Some(limit) = watch.expired() {
                return Poll::Ready(Err(FlowEnd::Late(limit)));
            }
            watch.register(context);
        }
        Poll::Pending
    })
    .await;
    let moved = FlowBytes {
        from_client: up.moved,
        from_server: down.moved,
    };
    (moved, result)
}

/// One direction.
struct FlowDirection<'a> {
    hooks: &'a [usize],
    filtering: Option<Filtering>,
    filtered: Vec<u8>,
    written: usize,
    may_splice: bool,
    pipe: Option<Pipe>,
    is_ended: bool,
    is_shut: bool,
    moved: u64,
    turn: Turn,
}

impl<'a> FlowDirection<'a> {
    fn new(hooks: &'a [usize], may_splice: bool) -> Self {
        Self {
            hooks,
            filtering: None,
            filtered: Vec::new(),
            written: 0,
            may_splice: may_splice && hooks.is_empty(),
            pipe: None,
            is_ended: false,
            is_shut: false,
            moved: 0,
            turn: Turn::default(),
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Peer,
        to: &mut Peer,
        options: &FlowOptions<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            if self.hooks.is_empty() {
                ready!(self.poll_copy(context, from, to))?;
            } else {
                ready!(self.poll_filter(context, from, to, options))?;
            }
            if self.is_ended {
                if !self.is_shut {
                    // a peer that is gone already cannot be notified
                    let _ = ready!(to.stream.poll_shutdown(context));
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.may_splice && self.moved >= SPLICE_AFTER_BYTES {
                ready!(self.poll_splice(context, from, to))?;
            } else {
                let filled = ready!(from.poll_fill_in_turn(context, BUFFER_BYTES, &mut self.turn));
                self.is_ended = filled.map_err(Stopped::Source)? == 0;
            }
        }
    }

    /// Writes what was read.
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Peer,
        to: &mut Peer,
    ) -> Poll<Result<(), Stopped>> {
        while !from.unread().is_empty() {
            let Poll::Ready(written) = to.stream.poll_write(context, from.unread(), &[]) else {
                from.settle();
                return Poll::Pending;
            };
            let n = written.map_err(Stopped::Target)?;
            from.consume(n);
            self.moved += n as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Lets hooks see what was read, and writes what they gave back.
    fn poll_filter(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Peer,
        to: &mut Peer,
        options: &FlowOptions<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            while self.written < self.filtered.len() {
                let rest = &self.filtered[self.written..];
                let n = ready!(to.stream.poll_write(context, rest, &[])).map_err(Stopped::Target)?;
                self.written += n;
                self.moved += n as u64;
            }
            self.filtered = Vec::new();
            self.written = 0;
            if let Some(filtering) = &mut self.filtering {
                self.filtered = ready!(filtering.as_mut().poll(context))?;
                self.filtering = None;
            } else if from.unread().is_empty() {
                return Poll::Ready(Ok(()));
            } else {
                let chunk = from.unread();
                self.filtering = Some(filter(
                    options.tables,
                    options.shared,
                    options.state,
                    self.hooks,
                    chunk,
                ));
                from.consume(from.unread().len());
            }
        }
    }

    /// Moves bytes within the kernel until the sender ends.
    fn poll_splice(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Peer,
        to: &Peer,
    ) -> Poll<Result<(), Stopped>> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => none.insert(Pipe::open().map_err(|_| Stopped::Pipe)?),
        };
        loop {
            while pipe.filled > 0 {
                let n = ready!(pipe.poll_drain_in_turn(context, to)).map_err(Stopped::Target)?;
                self.moved += n as u64;
            }
            pipe.filled = ready!(pipe.poll_fill(context, from, SPLICE_BYTES)).map_err(Stopped::Source)?;
            if pipe.filled == 0 {
                self.is_ended = true;
                self.may_splice = false;
                return Poll::Ready(Ok(()));
            }
        }
    }
}
