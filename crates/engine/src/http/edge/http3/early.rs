//! Requests in early data, which come with a client's first packet (0-RTT, RFC 8470), on listeners that ask for it.
//!
//! # How it works
//! What comes so can be sent again by whoever has seen it. A session is therefore kept by the worker that it was agreed
//! with, and taken out when it is used: a second use finds none, and gets a whole handshake. As more than one worker, or
//! more than one gateway, may still be sent the same, only safe methods are served before the handshake is complete, and
//! servers are told.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use headgate_net::quic::{Completed, Connecting, Connection};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache};
use rustls::ServerConfig;
use tokio::task::spawn_local;

use crate::hooks::connection::Preread;
use crate::state::refusal::Refusal;
use crate::state::Shared;
use crate::tables::listener::Settings;
use headgate_net::deadline::Watched;
use headgate_net::peer::{late, Broken};
use headgate_net::tls::{ClientCertificateMode, Handshakes};
use headgate_shared::metrics::Counter;
use headgate_upstream::http3::frames::close;
use headgate_upstream::LimitCounter;
use headgate_wire::http3::code;

/// Sessions that a worker keeps for a listener, a few hundred bytes each: two for each client.
const SESSIONS: usize = 8192;

/// What servers are told (RFC 8470 section 5.1).
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Whether clients of a connection may send requests with their first packet. Not those who may have to show who they
/// are, nor those for whom a hook has chosen a certificate.
pub(super) fn is_offered(settings: &Settings, state: Option<&Rc<Preread>>) -> bool {
    let mode = state.and_then(|state| state.client_certificates.get());
    let mode = mode.or_else(|| settings.tls.as_ref().map(|tls| tls.client_certificates()));
    settings.http3_early_data
        && mode == Some(ClientCertificateMode::None)
        && state.is_none_or(|state| state.certificate.borrow().is_none())
}

/// The same with early data, and sessions of its own.
pub(super) fn config(tls: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = tls.clone();
    // the one value for QUIC (RFC 9001 section 4.6.1)
    config.max_early_data_size = u32::MAX;
    config.ticketer = Arc::new(NoTickets);
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Arc::new(config)
}

/// Sessions are kept here, not by clients: only so is it known which were used.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Serves a connection as soon as its client has said what it wants; the handshake goes on beside that.
pub(super) async fn begin(
    shared: &Rc<Shared>,
    mut connecting: Connecting,
    watch: Watched,
    counted: Handshakes,
) -> Result<Connection, Option<Refusal>> {
    let failed = || shared.metrics.count(Counter::TlsHandshakesFailed);
    let hello = within(&watch, connecting.hello()).await;
    if hello.inspect_err(|_| failed())?.is_err() {
        failed();
        return Err(None);
    }
    let (connection, completed) = connecting.into_early();
    spawn_local(complete(
        shared.clone(),
        connection.clone(),
        completed,
        (watch, counted),
    ));
    Ok(connection)
}

/// Sees to it that the handshake is completed, and in time.
async fn complete(
    shared: Rc<Shared>,
    connection: Connection,
    completed: Completed,
    (watch, _counted): (Watched, Handshakes),
) {
    match within(&watch, completed).await {
        Ok(Ok(())) => shared.metrics.count(Counter::TlsHandshakes),
        Ok(Err(_)) => shared.metrics.count(Counter::TlsHandshakesFailed),
        Err(refusal) => {
            shared.metrics.count(Counter::TlsHandshakesFailed);
            if let Some(refusal) = refusal {
                refusal.count(&shared.metrics);
            }
            close(&connection, code::NO_ERROR, "the handshake takes too long");
        }
    }
}

/// Waits for a step of a handshake, but no longer than the watch says.
pub(super) async fn within<T>(watch: &Watched, step: impl Future<Output = T>) -> Result<T, Option<Refusal>> {
    let mut step = pin!(step);
    poll_fn(|context| {
        if let Poll::Ready(done) = step.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        late(watch, context).map(|broken| {
            Err(match broken {
                Broken::Limit(limit) => Some(Refusal {
                    error: "connection_refused",
                    limit: limit.name(),
                    counter: Some(limit.counter()),
                }),
                Broken::Closed | Broken::Io(_) => None,
            })
        })
    })
    .await
}

/// Whether a request may be served although it may be sent again by others: safe methods only (RFC 8470 section 4).
pub(super) fn may_be_early(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Tells hooks and the server.
pub(super) fn mark(request: &mut Parts) {
    request.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
}
