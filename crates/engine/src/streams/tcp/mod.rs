//! Connections that carry bytes as they are: TCP listeners, and TLS that is routed by its server name without being decrypted.
//!
//! # How it works
//! [`serve`] is the page to read: choose an upstream, connect to one of its servers (nothing was sent yet, so another may be
//! tried), introduce the client, [`flow`] bytes both ways, log. What a hook wants of chunks is in [`filter`].

mod filter;
mod flow;

use std::rc::Rc;

use crate::access_log::{Entry, Step, StepKind, Steps};
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::ClientInfo;
use crate::hooks::connection::{Chosen, ConnectionState, Preread};
use crate::state::admission::Admission;
use crate::state::refusal::Refusal;
use crate::state::Shared;
use crate::tables::listener::Settings;
use crate::tables::Tables;
use flow::FlowBytes;
use headgate_net::deadline::Watched;
use headgate_net::peer::Peer;
use headgate_net::reason::in_words;
use headgate_route::Tried;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::{DialFailed, DialOptions, FailedBy, Lease, Reason, ServerFailure, Upstream, Wanted};

/// A connection that is admitted, and whatever was decided before.
pub(crate) struct Inbound {
    pub(crate) peer: Peer,
    pub(crate) watch: Watched,
    pub(crate) client: ClientInfo,
    pub(crate) settings: Rc<Settings>,
    pub(crate) tables: Rc<Configuration>,
    pub(crate) shared: Rc<Shared>,
    pub(crate) admission: Admission,
}

/// What is logged of a finished connection.
#[derive(Default)]
struct ConnectionRecord {
    upstream: String,
    server: String,
    attempts: u32,
    connect_us: u64,
    /// Each try to connect.
    steps: Steps,
    moved: FlowBytes,
    limit: &'static str,
    error: &'static str,
}

impl ConnectionRecord {
    /// Keeps how long a try to connect took.
    fn dialed(&mut self, began_us: u64, now_us: u64) {
        self.steps.add(Step {
            kind: StepKind::Connect,
            attempt: self.attempts,
            began_us,
            us: now_us.saturating_sub(began_us),
        });
    }
}

/// Carries one connection to its end.
pub(crate) async fn serve(mut inbound: Inbound, state: Rc<Preread>, began_us: u64) {
    let shared = inbound.shared.clone();
    shared.metrics.count(Counter::TcpConnections);
    let mut record = ConnectionRecord::default();
    if let Err(refusal) = carry(&mut inbound, &state, &mut record).await {
        refusal.count(&shared.metrics);
        record.limit = refusal.limit;
        record.error = refusal.error;
    }
    shared
        .metrics
        .add(Counter::TcpBytesReceived, record.moved.from_client);
    shared
        .metrics
        .add(Counter::TcpBytesSent, record.moved.from_server);
    log(
        &inbound.tables,
        &shared,
        &inbound.client,
        &state,
        &record,
        began_us,
    );
}

async fn carry(
    inbound: &mut Inbound,
    state: &Rc<Preread>,
    record: &mut ConnectionRecord,
) -> Result<(), Refusal> {
    let settings = inbound.settings.clone();
    admit(inbound, &settings)?;
    let upstream = upstream_of(inbound, state)?;
    record.upstream.clone_from(&upstream.name);
    inbound.client.preread = Some(state.clone());
    let (mut server, index, _lease) = connect(inbound, &upstream, record).await?;
    inbound.client.preread = None;
    let tables = inbound.tables.clone();
    let (moved, ended) = flow::flow(
        &mut inbound.peer,
        &mut server,
        &flow::FlowOptions {
            tables: &tables,
            shared: &inbound.shared,
            state,
            hooks: &settings.hooks,
            server: upstream.servers[index].identity,
            idle_ms: state.idle_ms.get().unwrap_or(settings.idle_ms),
            lifetime_ms: state.lifetime_ms.get().unwrap_or(settings.lifetime_ms),
        },
    )
    .await;
    record.moved = moved;
    ended.map_err(|ended| match ended {
        flow::FlowEnd::Late(limit) => Refusal {
            error: "timeout",
            limit: limit.name(),
            counter: Some(limit.counter()),
        },
        flow::FlowEnd::Server(error) => {
            let failure = ServerFailure {
                kind: "reset",
                message: "the server broke the connection",
                detail: Some(&in_words(&error)),
                limit: None,
                route: Some(&state.listener),
                request_id: None,
            };
            upstream.log_failure(index, &failure, inbound.shared.clock.now_us());
            Refusal::new("reset", Counter::TcpResets)
        }
        flow::FlowEnd::Client | flow::FlowEnd::Pipe => Refusal::new("reset", Counter::TcpResets),
        flow::FlowEnd::ByHook => Refusal::new("closed_by_hook", Counter::RefusedByHook),
        flow::FlowEnd::HookFailed => Refusal::hook_failed(),
    })
}

/// The listener's own bounds.
fn admit(inbound: &mut Inbound, settings: &Settings) -> Result<(), Refusal> {
    let full = |limit| Refusal {
        error: "connection_refused",
        limit,
        counter: Some(Counter::ConnectionsRefused),
    };
    let name = &settings.name;
    let admission = &mut inbound.admission;
    // a listener's name has no NUL, so that no client's address is like it
    if !admission.count_within(format!("\0{name}"), settings.max_connections) {
        return Err(full("listener.max_connections"));
    }
    let of_client = format!("\0{name}\0{}", inbound.client.address);
    if !admission.count_within(of_client, settings.max_connections_per_client) {
        return Err(full("listener.max_connections_per_client"));
    }
    Ok(())
}

fn upstream_of(inbound: &Inbound, state: &ConnectionState) -> Result<Rc<Upstream>, Refusal> {
    let tables = &inbound.tables;
    let chosen = state.chosen.borrow();
    match &*chosen {
        Some(Chosen::Upstream(index)) => Ok(tables.upstreams[*index].clone()),
        Some(Chosen::Address(address)) => inbound
            .shared
            .origins
            .at_address(address, inbound.shared.clock.now_ms())
            .map_err(|_| Refusal::new("bad_server_address", Counter::HookFailures)),
        None => match inbound.settings.upstream {
            Some(index) => Ok(tables.upstreams[index].clone()),
            None => Err(Refusal::new("no_route", Counter::TcpUnrouted)),
        },
    }
}

/// A connection to one of the servers. Nothing of the client's was sent, so each may be tried.
async fn connect(
    inbound: &Inbound,
    upstream: &Rc<Upstream>,
    record: &mut ConnectionRecord,
) -> Result<(Peer, usize, Lease), Refusal> {
    let shared = &inbound.shared;
    let timeouts = &inbound.tables.timeouts;
    let options = DialOptions {
        watch: &inbound.watch,
        connect_ms: upstream.timeouts.connect.unwrap_or(timeouts.connect),
        send_ms: timeouts.send,
        tls_ms: timeouts.tls_handshake,
        client: &inbound.client,
    };
    let dialer = shared.dialer();
    let began = shared.clock.tick();
    let mut tried = Tried::new();
    let mut refusal = Refusal::new("no_server", Counter::UpstreamFailures);
    for _ in 0..=upstream.retries {
        if upstream.is_circuit_open(&shared.metrics) && record.attempts > 0 {
            break;
        }
        let wanted = Wanted::of(upstream.key_of_source(&inbound.client.address));
        let Some(server) = upstream.pick(shared.clock.now_ms(), wanted, &tried, &shared.metrics) else {
            break;
        };
        let Some(mut pass) = upstream.pass(&shared.metrics) else {
            refusal = Refusal::new("circuit_open", Counter::TcpUnserved);
            break;
        };
        tried.insert(server);
        if record.attempts > 0 {
            shared.metrics.count(Counter::Retries);
        }
        record.attempts += 1;
        record.server.clone_from(&upstream.servers[server].name);
        let lease = Lease::new(shared.metrics.clone(), upstream, server);
        let dialed_us = shared.clock.now_us();
        let outcome = dialer.dial(upstream, server, &options).await;
        record.dialed(dialed_us, shared.clock.tick());
        match outcome {
            Ok(peer) => {
                record.connect_us = shared.clock.tick() - began;
                // how long it took to accept is all that is known of how busy it is
                let response = (0, record.connect_us);
                upstream.responded(server, shared.clock.now_ms(), response, &shared.metrics);
                pass.responded(0);
                return Ok((peer, server, lease));
            }
            Err(failed) => {
                refusal = note_failed(inbound, upstream, server, &failed);
                pass.failed(FailedBy::Connect);
            }
        }
    }
    record.connect_us = shared.clock.tick() - began;
    Err(refusal)
}

/// A server could not be connected to: what that is for the client, if no other one can be.
fn note_failed(inbound: &Inbound, upstream: &Upstream, server: usize, failed: &DialFailed) -> Refusal {
    let shared = &inbound.shared;
    shared.metrics.count(Counter::UpstreamFailures);
    let message = failed.message();
    let route = Some(&*inbound.settings.name);
    upstream.log_failure(server, &failed.to_log(&message, route), shared.clock.now_us());
    upstream.failed(server, shared.clock.now_ms(), FailedBy::Connect, &shared.metrics);
    match failed.reason {
        Reason::Late(limit) => Refusal {
            error: failed.kind(),
            limit: limit.name(),
            counter: Some(Counter::TcpUnserved),
        },
        _ => Refusal::new(failed.kind(), Counter::TcpUnserved),
    }
}

fn log(
    tables: &Tables,
    shared: &Shared,
    client: &ClientInfo,
    state: &ConnectionState,
    record: &ConnectionRecord,
    began_us: u64,
) {
    let Some(records) = shared.access_records(tables) else {
        return;
    };
    let hello = state.hello.borrow();
    let name = hello.as_ref().and_then(|hello| hello.server_name.as_deref());
    records.record(&Entry {
        time_unix_ms: shared.clock.unix_ms(began_us),
        client: &client.address,
        host: name.unwrap_or_default().as_bytes(),
        version: "TCP",
        request_bytes: record.moved.from_client,
        response_bytes: record.moved.from_server,
        body_bytes: record.moved.from_server,
        route: &state.listener,
        upstream: &record.upstream,
        server: &record.server,
        attempts: record.attempts,
        connect_us: record.connect_us,
        started_us: began_us,
        steps: Some(&record.steps),
        total_us: shared.clock.tick().saturating_sub(began_us),
        limit: record.limit,
        error: record.error,
        ..Entry::default()
    });
}
