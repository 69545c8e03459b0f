//! An attempt that runs beside others of the same request: it does not touch the client, and keeps what has come to itself.
//!
//! # How it works
//! Only requests that are here as a whole have such attempts, so that nothing of the client is waited for. Interim responses
//! are kept, and go to the client if this attempt's response does.

use headgate_wire::{ResponseHead, Version};

use super::attempt::{blame, connect, note_head, AttemptFailed, MAX_INTERIM};
use super::attempt_shared::{self, Shares};
use super::in_flight::{ended, parse_head, FIRST_READ_BYTES};
use super::plan::Plan;
use super::reversed;
use crate::failure::{Failure, FailureKind};
use crate::http::h1::response_head::write_interim;
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, Peer};
use headgate_shared::metrics::Counter;
use headgate_upstream::{LimitCounter, Pooled};

/// A response whose head is here.
pub(super) struct Responded {
    pub(super) server: Box<Pooled>,
    pub(super) head: ResponseHead,
    /// Interim responses, as the client gets them.
    pub(super) interim: Vec<u8>,
    /// From the request to the head, in microseconds.
    pub(super) took_us: u64,
}

/// See the module.
struct Beside<'a> {
    plan: &'a Plan<'a>,
    shared: &'a Shared,
    watch: &'a Watched,
    /// Its number.
    attempt: u32,
    head_bytes: &'a [u8],
}

/// Sends a request and awaits the head of its final response. A connection that turns out to be closed is replaced, as for
/// attempts that run alone.
pub(super) async fn run(
    plan: &Plan<'_>,
    shared: &Shared,
    (server, attempt): (usize, u32),
    head_bytes: Vec<u8>,
) -> Result<Responded, Failure> {
    let watch = shared.deadlines.watch(&shared.clock);
    watch.bind(plan.upstream.servers[server].identity);
    let beside = Beside {
        plan,
        shared,
        watch: &watch,
        attempt,
        head_bytes: &head_bytes,
    };
    beside.run(server).await.map_err(|failed| match failed {
        AttemptFailed::Request(failure) | AttemptFailed::Server(failure) => failure,
    })
}

impl Beside<'_> {
    async fn run(&self, server: usize) -> Result<Responded, AttemptFailed> {
        let (plan, shared) = (self.plan, self.shared);
        if let Some(shares) = Shares::of(&plan.upstream.servers[server]) {
            let stream = attempt_shared::open(plan, shared, self.watch, (server, shares)).await?;
            let was_reused = stream.served > 0;
            match self.exchange(stream).await {
                Err(AttemptFailed::Server(failure))
                    if failure.retry().on_fresh_connection(was_reused, true) => {}
                other => return other,
            }
            let stream = attempt_shared::open(plan, shared, self.watch, (server, shares)).await?;
            return self.exchange(stream).await;
        }
        if let Some(pooled) = plan.upstream.servers[server].pool.take() {
            shared.metrics.count(Counter::UpstreamReuses);
            match self.exchange(pooled).await {
                Err(AttemptFailed::Server(failure)) if failure.retry().on_fresh_connection(true, true) => {}
                Ok(responded) if responded.head.ends_an_idle_connection() => {}
                other => return other,
            }
        }
        let fresh = connect(plan, shared, self.watch, server).await?;
        self.exchange(fresh).await
    }

    async fn exchange(&self, mut server: Box<Pooled>) -> Result<Responded, AttemptFailed> {
        let (plan, clock) = (self.plan, &self.shared.clock);
        let began = clock.now_us();
        let is_reused = server.served > 0 || server.since_ms > 0;
        server.served += 1;
        let sent = server
            .peer
            .write_all(self.watch, self.head_bytes, plan.send_ms)
            .await;
        if let Err(Broken::Limit(limit)) = sent {
            return Err(self.late(limit));
        }
        let is_told = plan.exchange.request.borrow().version == Version::Http11;
        let (mut interim, mut count, mut is_sound) = (Vec::new(), 0, true);
        loop {
            let Pooled { peer, leash, .. } = &mut *server;
            let head = match leash {
                None => self.head(peer).await,
                Some(leash) => reversed::leashed_head(self.head(peer), leash).await,
            };
            let mut head = head.map_err(|failed| {
                note_head(plan, self.attempt, (began, clock.tick()));
                blame(failed, is_reused)
            })?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                head.persistent &= is_sound;
                note_head(plan, self.attempt, (began, clock.tick()));
                return Ok(Responded {
                    server,
                    head,
                    interim,
                    took_us: clock.now_us() - began,
                });
            }
            is_sound &= head.persistent;
            count += 1;
            if count > MAX_INTERIM {
                self.shared.metrics.count(Counter::BadResponses);
                let failure = Failure::from(FailureKind::TooManyInterimResponses);
                return Err(AttemptFailed::Server(failure));
            }
            if is_told {
                write_interim(&head, &mut interim);
            }
        }
    }

    /// The next head.
    async fn head(&self, server: &mut Peer) -> Result<ResponseHead, AttemptFailed> {
        let plan = self.plan;
        let is_head = plan.exchange.request.borrow().is_head();
        self.watch.arm(Limit::UpstreamHead, plan.upstream_head_ms);
        loop {
            if let Some(parsed) = parse_head(plan, &self.shared.metrics, server, is_head) {
                return parsed;
            }
            match server.fill(self.watch, FIRST_READ_BYTES).await {
                Ok(_) => {}
                Err(Broken::Limit(limit)) => return Err(self.late(limit)),
                Err(Broken::Closed) => return Err(ended(server, None)),
                Err(Broken::Io(error)) => return Err(ended(server, Some(&error))),
            }
        }
    }

    fn late(&self, limit: Limit) -> AttemptFailed {
        self.shared.metrics.count(limit.counter());
        self.plan.exchange.limit.set(limit.name());
        AttemptFailed::Server(Failure::from(match limit {
            Limit::Send => FailureKind::UpstreamSendTimeout,
            Limit::ServerDrain => FailureKind::ServerRemoved,
            _ => FailureKind::UpstreamHeadTimeout,
        }))
    }
}
