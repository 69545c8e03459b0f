//! What of tables any thread can build, while the worker's own serves on: whatever grows with the configuration and is
//! nobody's yet. `assembly` makes tables of it, on the worker's thread.

use std::sync::Arc;

use headgate_net::peer::BUFFER_BYTES;
use headgate_net::tls::{ListenerTls, TicketKeys};
use headgate_shared::series::Registry;
use headgate_upstream::DraftedUpstream;

use super::measured::Measured;
use super::routes::Routes;
use super::tls_routes::TlsRoutes;
use super::SnapshotError;
use crate::snapshot::{self, Snapshot};

/// Builds drafts for a worker, in any thread.
pub struct Drafter {
    ticket_keys: Arc<TicketKeys>,
    registry: Option<Arc<Registry>>,
}

/// See the module.
pub struct Draft {
    /// Without what is below.
    pub(super) snapshot: Snapshot,
    pub(super) upstreams: Vec<(snapshot::Upstream, DraftedUpstream)>,
    pub(super) routes: Routes,
    pub(super) listeners: Vec<(snapshot::Listener, Option<ListenerTls>)>,
    pub(super) tls_routes: TlsRoutes,
    pub(super) measured: Option<Measured>,
}

impl Drafter {
    /// One whose drafts have the series of a registry, if there is one and their configuration wants metrics.
    pub(crate) fn new(ticket_keys: Arc<TicketKeys>, registry: Option<Arc<Registry>>) -> Self {
        Self {
            ticket_keys,
            registry,
        }
    }

    /// Reads a snapshot's JSON, checks it and builds what can be built.
    ///
    /// # Errors
    /// The snapshot is not usable.
    pub fn draft(&self, json: &[u8]) -> Result<Draft, SnapshotError> {
        self.of(parse(json)?)
    }

    /// The same of a snapshot that was read.
    pub(crate) fn of(&self, mut snapshot: Snapshot) -> Result<Draft, SnapshotError> {
        check_process(&snapshot)?;
        let upstreams = std::mem::take(&mut snapshot.upstreams);
        let count = upstreams.len();
        let upstreams = upstreams.into_iter().map(|upstream| {
            let drafted = DraftedUpstream::new(&upstream)?;
            Ok((upstream, drafted))
        });
        let upstreams: Vec<_> = upstreams.collect::<Result<_, String>>().map_err(SnapshotError)?;
        let routes = Routes::build(
            std::mem::take(&mut snapshot.routes),
            snapshot.first_resource_route,
            count,
            snapshot.limits.max_body_bytes,
        )?;
        let listeners = std::mem::take(&mut snapshot.listeners).into_iter();
        let listeners = listeners.map(|listener| self.listener(listener));
        let listeners = listeners.collect::<Result<_, _>>()?;
        let tls_routes = TlsRoutes::build(&snapshot.tls_routes, count)
            .map_err(|error| SnapshotError(format!("tls_routes: {error}")))?;
        let registry = self.registry.as_ref().filter(|_| snapshot.metrics);
        let measured = registry.map(|registry| Measured::new(&routes.list, &upstreams, registry));
        Ok(Draft {
            snapshot,
            upstreams,
            routes,
            listeners,
            tls_routes,
            measured,
        })
    }

    fn listener(
        &self,
        mut listener: snapshot::Listener,
    ) -> Result<(snapshot::Listener, Option<ListenerTls>), SnapshotError> {
        let tls = listener.tls.take();
        let read = tls.map(|tls| ListenerTls::build(&listener.address, tls, &self.ticket_keys));
        match read.transpose() {
            Ok(tls) => Ok((listener, tls)),
            Err(error) => Err(SnapshotError(format!("listener `{}`: {error}", listener.name))),
        }
    }
}

/// Parses the snapshot's text.
pub(crate) fn parse(json: &[u8]) -> Result<Snapshot, SnapshotError> {
    serde_json::from_slice(json).map_err(|error| SnapshotError(format!("bad snapshot: {error}")))
}

/// What a snapshot asks of this process: buffers of its size, and a TLS library of its kind.
fn check_process(snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let max_head_bytes = snapshot.limits.max_head_bytes;
    if max_head_bytes >= BUFFER_BYTES {
        return Err(SnapshotError(format!(
            "limits.max_head_bytes `{max_head_bytes}` is too large\nhint: at most {}",
            BUFFER_BYTES - 1
        )));
    }
    if snapshot.require_fips {
        headgate_net::tls::require_fips().map_err(|error| SnapshotError(format!("tls: {error}")))?;
    }
    Ok(())
}
