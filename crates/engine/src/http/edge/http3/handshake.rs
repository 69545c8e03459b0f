//! From a client's first packet to a connection that is served: limits, `connect` hooks, address validation, TLS.

use std::future::poll_fn;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use headgate_net::quic::{Connection, Incoming};

use headgate_wire::ClientHelloError;
use tokio::task::spawn_local;

use super::connection;
use super::early::{self, within};
use super::listener::Accepting;
use super::qlog;
use super::request::Carrier;
use super::transport::with_qlog;
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::{ClientInfo, ConnectionState, Preread, Protocol};
use crate::http::edge::priorities::{Ids, Schedule};
use crate::snapshot::Phase;
use crate::state::admission::Admission;
use crate::state::connection_hooks::run_hooks;
use crate::state::refusal::{log_refusal, Refusal};
use crate::state::Shared;
use crate::tables::listener::Settings;
use crate::tables::networks::canonical;
use headgate_net::limits::Limit;
use headgate_net::tls::{Handshakes, TlsInfo};
use headgate_shared::metrics::Counter;

/// From this part of `limits.max_tls_handshakes` on, clients must first prove their address (RFC 9000 section 8.1.2): a
/// half-open handshake then costs nothing.
const RETRY_FROM: usize = 8;

/// Serves what a client begins.
pub(super) async fn serve(accepting: Rc<Accepting>, incoming: Incoming) {
    let shared = &accepting.shared;
    let tables = shared.tables();
    let Some(settings) = accepting.settings(&tables) else {
        return incoming.refuse();
    };
    let most = tables.limits.max_tls_handshakes;
    let is_busy = shared.tls_handshakes.get() >= most / RETRY_FROM;
    if is_busy && !incoming.is_validated() {
        shared.metrics.count(Counter::Http3Retries);
        return incoming.retry();
    }
    shared.metrics.count(Counter::ConnectionsAccepted);
    let began_us = shared.clock.tick();
    let mut client = client_info(&accepting, &settings, &incoming, tables.http3.alt_svc_max_age);
    match shake(&accepting, (&tables, &settings), &mut client, (incoming, is_busy)).await {
        Ok((connection, admission)) => {
            drop((tables, settings));
            client.accepted.set(Some((began_us, shared.clock.tick())));
            let carrier = Carrier {
                connection,
                client: Rc::new(client),
                shared: shared.clone(),
                active: Rc::default(),
                schedule: Rc::new(Schedule::new(Ids::HTTP3)),
                listener: accepting.name.clone(),
            };
            // a task of its own, as the handshake's takes more memory than a connection that waits
            spawn_local(connection::serve(carrier, admission));
        }
        Err(refused) => {
            shared.metrics.count(Counter::ConnectionsRefused);
            if let Some(refusal) = refused {
                refusal.count(&shared.metrics);
                log_refusal(&tables, shared, &client, (&refusal, ""), began_us);
            }
        }
    }
}

fn client_info(
    accepting: &Accepting,
    settings: &Settings,
    incoming: &Incoming,
    alt_svc_max_age: u64,
) -> ClientInfo {
    let address = incoming.remote_address().unwrap_or_else(nowhere);
    let address = canonical(address);
    let local = incoming
        .local_ip()
        .map(|ip| canonical(SocketAddr::new(ip, accepting.port)));
    ClientInfo {
        address: address.ip().to_string(),
        port: address.port(),
        scheme: "https",
        listener: settings.name.clone(),
        destination: local,
        protocol: Protocol::Http3,
        alt_svc: settings.alt_svc(accepting.port, alt_svc_max_age),
        ..ClientInfo::default()
    }
}

/// Admits the client, asks hooks, and does the handshake. `Err(None)` is the client's own matter and is not logged.
async fn shake(
    accepting: &Accepting,
    (tables, settings): (&Rc<Configuration>, &Rc<Settings>),
    client: &mut ClientInfo,
    (incoming, is_busy): (Incoming, bool),
) -> Result<(Connection, Admission), Option<Refusal>> {
    let shared = &accepting.shared;
    let admission = Admission::within(shared, &tables.limits, Some(&client.address))
        .map_err(|full| Some(Refusal::full(&full)))?;
    let Some(counted) = Handshakes::begin(&shared.tls_handshakes, tables.limits.max_tls_handshakes) else {
        return Err(Some(Refusal {
            error: "connection_refused",
            limit: "limits.max_tls_handshakes",
            counter: Some(Counter::LimitTlsHandshakes),
        }));
    };
    let phases = [Phase::Connect, Phase::ClientHello];
    let has_hooks = phases.iter().any(|phase| !settings.hooks[*phase].is_empty());
    let state = has_hooks.then(|| state(tables, settings, client));
    if let Some(state) = &state {
        run_hooks(shared, state, &settings.hooks[Phase::Connect])
            .await
            .map_err(Some)?;
    }
    if let Some(state) = state
        .as_ref()
        .filter(|_| !settings.hooks[Phase::ClientHello].is_empty())
    {
        look_at_hello(shared, (tables, settings), state, &incoming).await?;
    }
    let begun = Begun {
        // while there are many, none begins to be served before it is complete; nor, at any time, for a client whose
        // address may be somebody else's
        is_early: early::is_offered(settings, state.as_ref()) && incoming.is_validated() && !is_busy,
        counted,
    };
    let connection = handshake(accepting, (tables, settings), (incoming, begun), state.as_ref()).await?;
    let tls = agreed(settings, &connection, state.as_ref(), shared.clock.now_ms());
    let tls = tls
        .and_then(|tls| of_one_name(tls, state.as_ref()))
        .map_err(|reason| {
            shared.metrics.count(Counter::TlsHandshakesFailed);
            tracing::debug!(client = client.address, "TLS handshake failed: {reason}");
            None
        })?;
    client.tls = Some(Rc::new(tls));
    client.preread = state;
    Ok((connection, admission))
}

/// Lets hooks decide by the client's first message, before the handshake begins.
async fn look_at_hello(
    shared: &Rc<Shared>,
    (tables, settings): (&Rc<Configuration>, &Rc<Settings>),
    state: &Rc<Preread>,
    incoming: &Incoming,
) -> Result<(), Option<Refusal>> {
    let watch = shared.deadlines.watch(&shared.clock);
    shared.busy.notify_one();
    watch.arm(Limit::TlsHandshake, tables.timeouts.tls_handshake);
    let most = tables.limits.max_client_hello_bytes;
    let hello = poll_fn(|context| incoming.poll_hello(context, most));
    let hello = within(&watch, hello).await?.map_err(|error| {
        let mut refusal = Refusal::new(error.reason(), Counter::ClientHellosRefused);
        if error == ClientHelloError::TooLarge {
            refusal.limit = Limit::ClientHello.name();
            refusal.counter = Some(Counter::LimitClientHello);
        }
        Some(refusal)
    })?;
    state.hello.replace(Some(hello));
    let hooks = run_hooks(shared, state, &settings.hooks[Phase::ClientHello]);
    within(&watch, hooks).await?.map_err(Some)
}

/// What hooks have decided by one reader's name, or by there being none, must not be had for the other's.
fn of_one_name(tls: TlsInfo, state: Option<&Rc<Preread>>) -> Result<TlsInfo, String> {
    let hello = state.map(|state| state.hello.borrow());
    match hello.as_ref().and_then(|hello| hello.as_ref()) {
        Some(seen) if !is_one_name(seen.server_name.as_deref(), tls.server_name.as_deref()) => {
            Err("the ClientHello can be read as one for two names".to_owned())
        }
        _ => Ok(tls),
    }
}

/// Whether two server names are one: letters of both cases are, with the root's dot and without. None is none.
fn is_one_name(one: Option<&str>, other: Option<&str>) -> bool {
    let [one, other] = [one, other].map(Option::unwrap_or_default);
    let plain = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    plain(one) == plain(other)
}

/// Where a connection comes from that was decided on already: none of those is asked about.
fn nowhere() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, 0).into()
}

fn state(tables: &Rc<Configuration>, settings: &Settings, client: &ClientInfo) -> Rc<Preread> {
    Preread::new(ConnectionState {
        address: client.address.clone(),
        port: client.port,
        peer: client.address.clone(),
        destination: client.destination,
        listener: client.listener.clone(),
        protocol: settings.protocol.name(),
        tls: settings.tls.clone(),
        ..ConnectionState::under(tables)
    })
}

/// A handshake that has begun.
struct Begun {
    is_early: bool,
    counted: Handshakes,
}

async fn handshake(
    accepting: &Accepting,
    (tables, settings): (&Rc<Configuration>, &Rc<Settings>),
    (incoming, begun): (Incoming, Begun),
    state: Option<&Rc<Preread>>,
) -> Result<Connection, Option<Refusal>> {
    let shared = &accepting.shared;
    let failed = || {
        shared.metrics.count(Counter::TlsHandshakesFailed);
        None
    };
    let config = accepting
        .server_config(tables, settings, state)
        .ok_or_else(failed)?;
    let config = match qlog::stream(&tables.http3, || title(&incoming, &settings.name)) {
        Some(events) => Arc::new(with_qlog(&config, &tables.http3, events)),
        None => config,
    };
    let connecting = incoming.accept(config).map_err(|_| failed())?;
    let watch = shared.deadlines.watch(&shared.clock);
    shared.busy.notify_one();
    watch.arm(Limit::TlsHandshake, tables.timeouts.tls_handshake);
    if begun.is_early {
        return early::begin(shared, connecting, watch, begun.counted).await;
    }
    let connected = within(&watch, connecting).await.inspect_err(|_| {
        let _ = failed();
    })?;
    let connection = connected.map_err(|error| {
        tracing::debug!(%error, "QUIC handshake failed");
        failed()
    })?;
    shared.metrics.count(Counter::TlsHandshakes);
    Ok(connection)
}

/// What a connection is called in its file of events.
fn title(incoming: &Incoming, listener: &str) -> String {
    let address = incoming.remote_address().unwrap_or_else(nowhere);
    format!("{address} at {listener}")
}

/// What the handshake came to.
fn agreed(
    settings: &Settings,
    connection: &Connection,
    state: Option<&Rc<Preread>>,
    now_ms: u64,
) -> Result<TlsInfo, String> {
    let listener = settings.tls.clone().ok_or("the listener has no TLS any more")?;
    let mode = state.and_then(|state| state.client_certificates.get());
    let chosen = state.and_then(|state| state.certificate.take());
    TlsInfo::of_quic(listener, connection.agreed(), (mode, chosen), now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_one_reader_does_not_see_is_another_name() {
        assert!(is_one_name(None, None));
        assert!(is_one_name(Some("a.test"), Some("A.Test.")));
        assert!(is_one_name(Some("a.test."), Some("a.test")));
        assert!(!is_one_name(None, Some("a.test")));
        assert!(!is_one_name(Some("a.test"), None));
        assert!(!is_one_name(Some("a.test"), Some("b.test")));
        assert!(!is_one_name(Some("a.test"), Some("a.test..")));
    }
}
