//! The settings of QUIC, and what one connection may hold.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use headgate_net::quic::ServerCrypto;
use quinn_proto::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, QlogStream, ServerConfig, TransportConfig, VarInt,
};

use super::address_tokens;
use super::connection_id::{IdKey, Ids};
use crate::snapshot::{Congestion, Http3};

/// The connection's window as a multiple of a stream's: so many stalled uploads do not yet stall the others.
const WINDOWS: u32 = 16;

/// Requests that a client may have under way at first. Each place takes memory, used or not: there are more when it has used
/// half of them.
const FIRST_STREAMS: u32 = 16;

/// Packets that a client may leave unacknowledged while nothing is lost, if it lets itself be asked.
const PACKETS_PER_ACK: u32 = 9;

/// Streams of one direction that a client may have open: control, two of QPACK, and a few that mean nothing.
const UNI_STREAMS: u32 = 8;

/// What is held of responses that the client has not acknowledged, over all streams of a connection.
const SEND_BUFFER_BYTES: u64 = 1 << 20;

/// A silent client is asked for a sign of life so many times before its connection counts as dead.
const SIGNS_OF_LIFE: u32 = 3;

/// Packets of one connection that is not accepted yet, and of all of them, in bytes.
const PENDING_BYTES: u64 = 32 * 1024;
const ALL_PENDING_BYTES: u64 = 4 << 20;

/// Connections that wait to be accepted.
const MAX_PENDING: usize = 1024;

/// How long a token that proves a client's address is valid: a handshake's time.
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);

/// The secrets that all workers share, so that each of them can read what another has issued.
pub(super) struct Secrets {
    pub(super) ids: IdKey,
    resets: hmac::Key,
    tokens: Arc<hkdf::Prk>,
}

impl Secrets {
    pub(super) fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |name: &[u8]| hmac::sign(&key, name);
        Self {
            ids: IdKey::new(derived(b"connection ids").as_ref()),
            resets: hmac::Key::new(hmac::HMAC_SHA256, derived(b"stateless resets").as_ref()),
            tokens: Arc::new(
                hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(derived(b"address tokens").as_ref()),
            ),
        }
    }
}

/// What an endpoint of that number is made with.
pub(super) fn endpoint_config(secrets: &Secrets, endpoint: u32) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(secrets.resets.clone()));
    let key = secrets.ids.clone();
    config.cid_generator(move || {
        Box::new(Ids {
            key: key.clone(),
            endpoint,
        })
    });
    config
}

/// The same for one connection, whose events are written.
pub(super) fn with_qlog(config: &ServerConfig, settings: &Http3, events: QlogStream) -> ServerConfig {
    let mut transport = transport(settings);
    transport.qlog_stream(Some(events));
    let mut config = config.clone();
    config.transport_config(Arc::new(transport));
    config
}

/// What a connection is accepted with. `None`: the TLS settings have no TLS 1.3.
pub(super) fn server_config(
    tls: Arc<rustls::ServerConfig>,
    secrets: &Secrets,
    settings: &Http3,
) -> Option<ServerConfig> {
    let mut config = ServerConfig::new(
        Arc::new(ServerCrypto::new(tls)?),
        Arc::clone(&secrets.tokens) as _,
    );
    config
        .retry_token_lifetime(RETRY_TOKEN_LIFETIME)
        .validation_token_config(address_tokens::config())
        .max_incoming(MAX_PENDING)
        .incoming_buffer_size(PENDING_BYTES)
        .incoming_buffer_size_total(ALL_PENDING_BYTES)
        .transport_config(Arc::new(transport(settings)));
    Some(config)
}

/// How many requests a client may have under way when so many are, and when it may have `now` of them.
pub(super) fn next_limit(open: u64, now: u32, most: u32) -> u32 {
    if open > u64::from(now / 2) {
        now.saturating_mul(2).min(most)
    } else {
        now
    }
}

/// How many it may have at first.
pub(super) fn first_limit(settings: &Http3) -> u32 {
    settings.max_concurrent_streams.min(FIRST_STREAMS)
}

fn congestion(chosen: Congestion) -> Arc<dyn ControllerFactory + Send + Sync> {
    match chosen {
        Congestion::Cubic => Arc::new(CubicConfig::default()),
        Congestion::Bbr => Arc::new(BbrConfig::default()),
    }
}

fn transport(settings: &Http3) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK));
    let mut transport = TransportConfig::default();
    let idle = Duration::from_millis(settings.idle);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(first_limit(settings)))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .stream_receive_window(VarInt::from_u32(settings.window_bytes))
        .receive_window(VarInt::from_u32(settings.window_bytes.saturating_mul(WINDOWS)))
        .send_window(SEND_BUFFER_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        // a request may take long without a packet, and its client must not seem dead meanwhile
        .keep_alive_interval(Some(idle / SIGNS_OF_LIFE))
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(congestion(settings.congestion));
    transport
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_requests_are_doubled_when_half_are_used() {
        assert_eq!(next_limit(8, 16, 128), 16);
        assert_eq!(next_limit(9, 16, 128), 32);
        assert_eq!(next_limit(60, 64, 100), 100);
        assert_eq!(next_limit(100, 100, 100), 100);
    }
}
