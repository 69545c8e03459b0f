//! One server of a group, and what is open to it.

use std::cell::Cell;
use std::rc::Rc;

use headgate_net::tls::UpstreamTls;
use headgate_route::fnv;
use rustls::pki_types::ServerName;

use crate::address::{without_default_port, Address};
use crate::failure_log::FailureLog;
use crate::http2::connections::SharedConnections;
use crate::http3::connections::Http3Connections;
use crate::pool::Pool;
use crate::spec;

/// One server.
pub struct Server {
    /// Its address as written in the configuration.
    pub name: String,
    /// The `Host` for itself: its address or the name that it was found by, without the port that its scheme implies.
    pub host: String,
    pub(crate) address: Address,
    /// How TLS is spoken with it, and under which name; absent for plain connections.
    pub(crate) tls: Option<(Rc<UpstreamTls>, ServerName<'static>)>,
    /// Its cell in the shared zone: requests now on it.
    pub cell: u32,
    /// What it is known by in all configurations that have it; never 0.
    pub identity: u64,
    /// Its idle connections.
    pub pool: Rc<Pool>,
    /// Its connections where it speaks HTTP/2.
    pub http2: Option<Rc<SharedConnections>>,
    /// Its connections where it speaks HTTP/3.
    pub http3: Option<Rc<Http3Connections>>,
    /// Something failed since its last response.
    pub has_failed: Cell<bool>,
    /// Connections that are being opened before they are needed.
    pub(crate) warming: Cell<usize>,
    /// Until when none are, since it could not be reached.
    pub(crate) rests_ms: Cell<u64>,
    /// What was logged of its failures.
    pub(crate) failure_log: FailureLog,
}

impl Server {
    /// One server of an upstream; `tls` is how TLS is spoken with those that use it.
    pub(crate) fn build(
        spec: &spec::Server,
        upstream: &spec::Upstream,
        tls: Option<&Rc<UpstreamTls>>,
        cell: u32,
    ) -> Result<Self, String> {
        let known_as = spec.host.as_ref().unwrap_or(&spec.address);
        let host = known_as.rsplit_once(':').map_or("", |(host, _)| host);
        let tls = tls.filter(|_| spec.tls);
        Ok(Self {
            tls: match tls {
                Some(tls) => Some((Rc::clone(tls), tls.name_for(host)?)),
                None => None,
            },
            name: spec.address.clone(),
            host: without_default_port(known_as, spec.tls).to_owned(),
            address: spec.connect.as_ref().unwrap_or(&spec.address).parse()?,
            cell,
            identity: identity(&upstream.name, &spec.address),
            pool: Rc::default(),
            http2: (upstream.protocol == spec::UpstreamProtocol::H2)
                .then(|| Rc::new(SharedConnections::new(upstream.grpc_web))),
            http3: (upstream.protocol == spec::UpstreamProtocol::H3).then(Rc::default),
            has_failed: Cell::new(false),
            warming: Cell::new(0),
            rests_ms: Cell::new(0),
            failure_log: FailureLog::default(),
        })
    }

    /// It is no longer one of its upstream: what is idle is closed, and the rest when it is no longer used.
    pub fn retire(&self) {
        self.pool.retire();
        if let Some(http2) = &self.http2 {
            http2.retire();
        }
        if let Some(http3) = &self.http3 {
            http3.retire();
        }
    }

    /// Closes idle connections that are too old or that it has closed.
    pub(crate) fn sweep(&self, now_ms: u64, idle_timeout_ms: u64) {
        self.pool.sweep(now_ms, idle_timeout_ms);
        if let Some(http2) = &self.http2 {
            http2.sweep(now_ms);
        }
        if let Some(http3) = &self.http3 {
            http3.sweep(now_ms);
        }
    }

    /// Whether it speaks TLS.
    #[inline]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the files behind it are as they were when it was built.
    pub(crate) fn is_current(&self) -> bool {
        self.tls.as_ref().is_none_or(|(tls, _)| tls.is_current())
    }
}

fn identity(upstream: &str, address: &str) -> u64 {
    fnv(format!("{upstream}/{address}").as_bytes()).max(1)
}
