//! A request's sticky session: the server that its cookie names, and the cookie that its response gets.

use headgate_route::{host_without_port, Tried};
use headgate_upstream::{Scope, Session, Sticky, Upstream};

use crate::hooks::exchange::Exchange;
use crate::state::Shared;

/// The session of a request to an upstream whose clients stay with their servers.
pub(super) struct ClientSession {
    /// The host that the client asks for, in lower case and without port, before hooks change it for a server.
    host: Vec<u8>,
    known: Option<Session>,
}

impl ClientSession {
    /// The session of a request; none if the upstream has no sessions.
    #[inline]
    pub(super) fn of(shared: &Shared, exchange: &Exchange, upstream: &Upstream) -> Option<Box<Self>> {
        let sticky = upstream.sticky.as_ref()?;
        Some(Box::new(Self::read(shared, exchange, upstream, sticky)))
    }

    #[cold]
    fn read(shared: &Shared, exchange: &Exchange, upstream: &Upstream, sticky: &Sticky) -> Self {
        let request = exchange.request.borrow();
        // browsers do not tell cookies apart by ports (RFC 6265 section 8.5)
        let host = host_without_port(request.host()).to_ascii_lowercase();
        let secret = shared.http3_secret.borrow();
        let known = sticky.session(&request, scope(shared, upstream, &host, &secret));
        Self { host, known }
    }

    /// The client's own server, if it was not tried.
    pub(super) fn server(&self, tried: &Tried) -> Option<usize> {
        let server = self.known?.server;
        (!tried.contains(server)).then_some(server)
    }

    /// Gives the client a cookie for the server that has responded, unless it has one that is not old. A session with a server
    /// that is being drained is not prolonged, so that it ends.
    #[cold]
    pub(super) fn add_cookie(
        &self,
        shared: &Shared,
        exchange: &Exchange,
        upstream: &Upstream,
        sticky: &Sticky,
    ) {
        let Some(server) = exchange.server.get() else {
            return;
        };
        let is_own = self.known.is_some_and(|known| known.server == server);
        let is_old = self.known.is_some_and(|known| known.is_old);
        if is_own && (!is_old || upstream.is_closed(server)) {
            return;
        }
        let secret = shared.http3_secret.borrow();
        let scope = scope(shared, upstream, &self.host, &secret);
        let cookie = sticky.set_cookie(server, exchange.client.scheme == "https", scope);
        let mut response = exchange.response.borrow_mut();
        let Some(response) = response.as_mut() else { return };
        // a head that is full keeps what it has: the client stays without a cookie, and asks for one again
        if response.head.add(b"Set-Cookie", cookie.as_bytes()).is_ok() && response.status != 101 {
            // no shared cache may give it to others (RFC 9111 section 5.2.2.7)
            let _ = response.head.add(b"Cache-Control", b"private");
        }
    }
}

fn scope<'a>(shared: &Shared, upstream: &'a Upstream, host: &'a [u8], secret: &'a [u8]) -> Scope<'a> {
    Scope {
        upstream: &upstream.name,
        servers: &upstream.servers,
        host,
        gateway_secret: secret,
        now_s: shared.clock.unix_us(shared.clock.now_us()) / 1_000_000,
    }
}
