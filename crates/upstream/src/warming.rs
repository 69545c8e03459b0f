//! Connections that are opened before requests need them.

use headgate_net::clock::Clock;
use headgate_wire::ProxyTlvs;
use http::uri::Scheme;

use crate::client_address::ClientIdentity;
use crate::dialer::{DialOptions, Dialer};
use crate::group::Upstream;
use crate::http2::connections::Sharing;
use crate::pool::Pooled;

/// How long a server is left alone to which no connection could be opened.
const PAUSE_MS: u64 = 5_000;

/// For whom such connections are.
pub struct Nobody;

impl ClientIdentity for Nobody {
    fn address(&self) -> &'static str {
        ""
    }

    fn port(&self) -> u16 {
        0
    }

    fn destination(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn tlvs(&self) -> ProxyTlvs {
        ProxyTlvs::default()
    }
}

impl Upstream {
    /// Whether connections are kept ready. Those that speak for a client are not.
    #[inline]
    #[must_use]
    pub fn keeps_warm(&self) -> bool {
        self.keepalive.min_idle > 0 && self.client_address.is_none()
    }

    /// The servers that may be asked and have fewer idle connections than wanted, and how many they lack.
    #[must_use]
    pub fn cold_servers(&self, now_ms: u64) -> Vec<(usize, usize)> {
        let balancer = self.balancer.borrow();
        let all = self.servers.iter().enumerate();
        let may_be_asked = all.filter(|(at, server)| {
            balancer.is_available(*at, now_ms) && !balancer.is_closed(*at) && server.rests_ms.get() <= now_ms
        });
        let lacking = may_be_asked.map(|(at, server)| {
            let (has, wants) = match (&server.http2, &server.http3) {
                // one connection carries many requests
                (Some(http2), _) => (http2.count(), 1),
                (None, Some(http3)) => (http3.count(), 1),
                (None, None) => (server.pool.count(), self.keepalive.min_idle),
            };
            (at, wants.saturating_sub(has + server.warming.get()))
        });
        lacking.filter(|(_, count)| *count > 0).collect()
    }
}

impl Dialer {
    /// Opens a connection to a server and keeps it for the next request; a server that cannot be reached is left alone for a
    /// while, and not blamed.
    pub async fn warm(&self, upstream: &Upstream, at: usize, options: &DialOptions<'_>) {
        let server = &upstream.servers[at];
        server.warming.set(server.warming.get() + 1);
        let is_kept = match &server.http3 {
            Some(http3) => match self.dial_http3(upstream, at, options).await {
                Ok(connection) => http3
                    .keep(connection, Sharing::All, upstream.keepalive.clone(), self)
                    .await
                    .is_some(),
                Err(_) => false,
            },
            None => self.warm_over_tcp(upstream, at, options).await,
        };
        server.warming.set(server.warming.get() - 1);
        if !is_kept {
            server.rests_ms.set(now_ms(&self.clock) + PAUSE_MS);
        }
    }

    async fn warm_over_tcp(&self, upstream: &Upstream, at: usize, options: &DialOptions<'_>) -> bool {
        let server = &upstream.servers[at];
        let dialed = self.dial(upstream, at, options).await;
        match (dialed, &server.http2) {
            (Err(_), _) => false,
            (Ok(peer), None) => {
                let mut pooled = Pooled::new(peer, 0);
                pooled.since_ms = now_ms(&self.clock);
                pooled.end_ms = upstream.keepalive.end_ms(pooled.since_ms);
                server.pool.give(pooled, upstream.keepalive.max_idle);
                true
            }
            (Ok(peer), Some(http2)) => {
                let scheme = if server.is_secure() {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                };
                let keepalive = upstream.keepalive.clone();
                let opened = http2.open(peer, Sharing::All, scheme, keepalive, self).await;
                opened.is_ok()
            }
        }
    }
}

/// Never 0, which is the moment of a connection that was not idle.
fn now_ms(clock: &Clock) -> u64 {
    clock.now_ms().max(1)
}
