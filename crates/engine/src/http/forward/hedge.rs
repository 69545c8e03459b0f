//! Hedged requests: one that waits for its response for too long goes to another server as well, and the first response wins
//! (Dean and Barroso, *The Tail at Scale*, CACM 56(2), 2013).
//!
//! # How it works
//! The first attempt runs beside those that follow, each on a server of its own, with its own lease and pass. A hedge begins
//! as a retry does, hooks included, but does not wait for a server. When a response wins, what the exchange says of server and
//! times is the winner's, and the others are dropped: that closes their connections, or resets their streams. They are no
//! result for balancing, outliers or circuits. An attempt that fails while another one goes on is only noted.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::task::Poll;

use headgate_route::Tried;
use tokio::time::Instant;

use super::attempt::{AttemptFailed, Ready};
use super::begin::{self, Begun, Why};
use super::beside::{self, Responded};
use super::plan::Plan;
use crate::failure::Failure;
use crate::hooks::HookResponse;
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_shared::metrics::Counter;
use headgate_upstream::is_used_by;

/// How an attempt, or several beside each other, ended.
pub(super) enum Raced<'a> {
    /// With a response, or the failure of the last one.
    Ended(Begun<'a>, Result<Ready, AttemptFailed>),
    /// A hook of a hedge has responded.
    Reply(Box<HookResponse>),
}

/// An attempt under way.
struct Runner<'a> {
    begun: Begun<'a>,
    attempt: Pin<Box<dyn Future<Output = Result<Responded, Failure>> + 'a>>,
}

/// What happens next.
enum Event {
    /// The attempt at that position has ended.
    Ended(usize, Box<Result<Responded, Failure>>),
    /// Another one may begin.
    Due,
    ClientLeft,
}

/// Runs an attempt that has begun; others beside it while it has no response, where that is allowed. `so_far`: the servers that
/// were tried, and the number of attempts of the request.
#[inline]
pub(super) async fn run<'a>(
    connection: &mut Connection,
    plan: &'a Plan<'a>,
    shared: &'a Shared,
    first: Begun<'a>,
    (here, body): (&[u8], &mut RequestBody),
    so_far: (&mut Tried, &mut u32),
) -> Result<Raced<'a>, Failure> {
    if is_possible(connection, plan, body) {
        return Box::pin(race(connection, plan, shared, first, here, so_far)).await;
    }
    let ended = plan.attempt(connection, first.server, here, body).await;
    Ok(Raced::Ended(first, ended))
}

/// Whether a request may be sent to two servers at a time: it is idempotent, here as a whole, and neither needs a connection of
/// its own nor becomes something else.
fn is_possible(connection: &Connection, plan: &Plan<'_>, body: &RequestBody) -> bool {
    if !plan.upstream.hedges() || !plan.is_repeatable {
        return false;
    }
    let request = plan.exchange.request.borrow();
    body.is_done()
        && !body.is_committed
        && body.made.is_none()
        && request.upgrade_protocol().is_none()
        && !request.head.has_inner_codings()
        && !is_used_by(&request.head)
        && connection.reserved_server.is_none()
}

/// Runs an attempt that has begun, and others beside it while it has no response.
async fn race<'a>(
    connection: &mut Connection,
    plan: &'a Plan<'a>,
    shared: &'a Shared,
    first: Begun<'a>,
    here: &[u8],
    (tried, made): (&mut Tried, &mut u32),
) -> Result<Raced<'a>, Failure> {
    connection.peer.settle();
    let since_us = shared.clock.now_us();
    let delay = plan.upstream.hedge_delay(shared.clock.now_ms());
    let mut due = pin!(tokio::time::sleep(delay.unwrap_or_default()));
    let mut runners = vec![start(plan, shared, first, here)];
    let mut left = hedges_left(plan, *made);
    loop {
        let is_awaited = delay.is_some() && left > 0;
        match next(connection, plan, &mut runners, is_awaited.then_some(due.as_mut())).await {
            Event::ClientLeft => return Err(Failure::client_disconnected()),
            Event::Ended(at, ended) => {
                let Runner { mut begun, .. } = runners.remove(at);
                begun.show(plan.exchange);
                match *ended {
                    Ok(responded) => {
                        plan.upstream
                            .took(shared.clock.now_ms(), shared.clock.now_us() - since_us);
                        let ready = win(connection, plan, (&begun, responded), runners).await?;
                        return Ok(Raced::Ended(begun, Ok(ready)));
                    }
                    Err(failed) if runners.is_empty() => {
                        return Ok(Raced::Ended(begun, Err(AttemptFailed::Server(failed))))
                    }
                    Err(failed) => begun.failed(shared, plan, &failed),
                }
            }
            Event::Due => {
                left -= 1;
                match hedge(connection, plan, shared, tried).await? {
                    begin::Begin::Begun(begun) => {
                        *made += 1;
                        runners.push(start(plan, shared, begun, here));
                    }
                    begin::Begin::Reply(reply) => return Ok(Raced::Reply(reply)),
                    begin::Begin::NoServer | begin::Begin::CircuitOpen => left = 0,
                }
                due.as_mut().reset(Instant::now() + delay.unwrap_or_default());
            }
        }
    }
}

/// How many more may begin: hedges and retries of a request are together no more than the greater of both bounds.
fn hedges_left(plan: &Plan<'_>, made: u32) -> u32 {
    let upstream = plan.upstream;
    let most = upstream.max_hedges().max(upstream.retries);
    most.saturating_sub(made.saturating_sub(1))
        .min(upstream.max_hedges())
}

fn start<'a>(plan: &'a Plan<'a>, shared: &'a Shared, begun: Begun<'a>, here: &[u8]) -> Runner<'a> {
    let head_bytes = plan.head_bytes(begun.server, here, Vec::new());
    let attempt = beside::run(plan, shared, (begun.server, begun.number), head_bytes);
    Runner {
        begun,
        attempt: Box::pin(attempt),
    }
}

/// Waits for the next event; nothing is due without `due`.
async fn next(
    connection: &mut Connection,
    plan: &Plan<'_>,
    runners: &mut [Runner<'_>],
    mut due: Option<Pin<&mut tokio::time::Sleep>>,
) -> Event {
    let mut disconnect = DisconnectWatcher::new(plan.tables.limits.allow_half_close);
    poll_fn(|context| {
        for (at, runner) in runners.iter_mut().enumerate() {
            if let Poll::Ready(ended) = runner.attempt.as_mut().poll(context) {
                return Poll::Ready(Event::Ended(at, Box::new(ended)));
            }
        }
        if disconnect.poll(context, &mut connection.peer) {
            return Poll::Ready(Event::ClientLeft);
        }
        match &mut due {
            Some(due) => due.as_mut().poll(context).map(|()| Event::Due),
            None => Poll::Pending,
        }
    })
    .await
}

/// Begins another attempt, if that is allowed now.
async fn hedge<'a>(
    connection: &mut Connection,
    plan: &'a Plan<'a>,
    shared: &'a Shared,
    tried: &mut Tried,
) -> Result<begin::Begin<'a>, Failure> {
    shared.clock.tick();
    if shared.is_closed.get() || !plan.upstream.may_hedge(&shared.metrics) {
        return Ok(begin::Begin::NoServer);
    }
    begin::begin(connection, plan, shared, tried, Why::Hedge).await
}

/// A response has won: the exchange is the winner's, and the client gets what came before its head.
async fn win(
    connection: &mut Connection,
    plan: &Plan<'_>,
    (begun, responded): (&Begun<'_>, Responded),
    losers: Vec<Runner<'_>>,
) -> Result<Ready, Failure> {
    let (exchange, shared) = (plan.exchange, connection.shared.clone());
    let exceeded = u64::try_from(losers.len()).unwrap_or(u64::MAX);
    shared.metrics.add(Counter::AttemptsCancelled, exceeded);
    if begun.why == Why::Hedge {
        if let Some(series) = &plan.tables.series {
            let server = exchange.place_in_tables(begun.server);
            series.hedge_won(exchange.configured_upstream(), server);
        }
    }
    for loser in &losers {
        loser.begun.given_up(&shared, plan, (0, "cancelled"));
    }
    drop(losers);
    connection
        .watch
        .bind(plan.upstream.servers[begun.server].identity);
    exchange.timings.head_us.set(responded.took_us);
    exchange.response.replace(Some(responded.head));
    if !responded.interim.is_empty() {
        let (client, watch) = (&mut connection.peer, &connection.watch);
        let written = client.write_all(watch, &responded.interim, plan.send_ms).await;
        written.map_err(|_| Failure::client_disconnected())?;
    }
    Ok(Ready {
        server: responded.server,
        upload_closed: false,
    })
}
