//! Tables are made of a draft on the worker's thread, in slices between which the worker serves.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use headgate_net::tls::ListenerTls;
use headgate_route::TargetMask;
use headgate_upstream::{DraftedUpstream, Upstream};
use headgate_wire::Lenient;

use super::cells::Cells;
use super::client_fields::ClientFields;
use super::draft::Draft;
use super::listener::Settings;
use super::networks::Networks;
use super::series::SeriesTable;
use super::{Lasting, SnapshotError, Tables};
use crate::access_log::{AccessLog, Destination, Format};
use crate::snapshot::{self, Snapshot};

/// How long the loop is held at once.
const SLICE: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Assembly {
    draft: Draft,
    /// What is still to be built.
    upstreams: std::vec::IntoIter<(snapshot::Upstream, DraftedUpstream)>,
    built: Vec<Rc<Upstream>>,
    cells: Cells,
    /// Those of the tables in force, by their names.
    former: HashMap<String, Rc<Upstream>>,
}

impl Assembly {
    /// Begins tables; upstreams that are as they were are taken over from `former`.
    pub(crate) fn new(mut draft: Draft, former: &[Rc<Upstream>]) -> Self {
        let upstreams = std::mem::take(&mut draft.upstreams);
        let former = former.iter().map(|one| (one.name.clone(), Rc::clone(one)));
        Self {
            built: Vec::with_capacity(upstreams.len()),
            upstreams: upstreams.into_iter(),
            draft,
            cells: Cells::default(),
            former: former.collect(),
        }
    }

    /// The snapshot, but for what was drafted.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.draft.snapshot
    }

    /// Goes on for a slice; whether it is ready to be finished.
    ///
    /// # Errors
    /// The snapshot is not usable.
    pub(crate) fn advance(&mut self) -> Result<bool, SnapshotError> {
        let begun = Instant::now();
        while let Some((spec, drafted)) = self.upstreams.next() {
            let upstream = self.upstream(&spec, drafted).map_err(SnapshotError)?;
            self.built.push(upstream);
            if begun.elapsed() >= SLICE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn upstream(
        &mut self,
        spec: &snapshot::Upstream,
        drafted: DraftedUpstream,
    ) -> Result<Rc<Upstream>, String> {
        let cells = &mut self.cells;
        let mut built = Upstream::build_with(spec, drafted, &mut |name| cells.assign(name))?;
        if let Some(former) = self.former.get(&spec.name) {
            if former.is(spec) && has_same_cells(former, &built) {
                return Ok(Rc::clone(former));
            }
            built.follow(former);
        }
        Ok(Rc::new(built))
    }

    /// The tables.
    ///
    /// # Errors
    /// The snapshot is not usable.
    pub(crate) fn finish(self) -> Result<Tables, SnapshotError> {
        let (upstreams, draft) = (self.built, self.draft);
        let snapshot = draft.snapshot;
        let access_log = snapshot.access_log.as_ref().map(open_log).transpose()?;
        let log_wants = access_log.as_ref().is_some_and(|log| log.shows_hooks());
        let trusted_proxies = parse_trusted(snapshot.trusted_proxies.as_deref())?;
        let listeners = build_listeners(draft.listeners, trusted_proxies.as_ref(), upstreams.len())?;
        let tells = upstreams.iter().any(|upstream| upstream.client_address.is_some());
        let settings = Lasting {
            trusted_proxies,
            wants_destination: tells || listeners.values().any(|settings| settings.has_state()),
            listeners,
            tls_routes: draft.tls_routes,
            upstreams,
            path_rules: snapshot.path.rules(),
            client_fields: Rc::new(ClientFields::new(
                &snapshot.forwarding,
                snapshot.request_id_header.as_deref(),
                snapshot.limits.underscore_headers,
            )),
            lenient: Lenient::of(&snapshot.limits.lenient)
                .map_err(|name| SnapshotError(format!("limits.lenient: there is no rule `{name}`")))?,
            limits: snapshot.limits,
            timeouts: snapshot.timeouts,
            forwarding: snapshot.forwarding,
            http2: snapshot.http2,
            http3: snapshot.http3,
            websocket: snapshot.websocket,
            request_id_header: snapshot.request_id_header.map(|name| name.to_ascii_lowercase()),
            acme_challenges: snapshot.acme_challenges.map(Into::into),
            access_log,
            target_mask: TargetMask::new(
                &snapshot.masked_query,
                &snapshot.masked_paths,
                !snapshot.masked_paths.is_empty(),
            ),
            server_timing: snapshot.server_timing,
            wants_hook_times: log_wants || snapshot.server_timing || snapshot.tracing.is_some(),
            phase_hooks: snapshot.hooks,
        };
        Ok(Tables {
            settings: Rc::new(settings),
            routes: draft.routes,
            series: draft
                .measured
                .map(|measured| Box::new(SeriesTable::new(measured))),
        })
    }
}

/// Whether an upstream would be a copy of another one that is of the same description, down to its servers' cells.
fn has_same_cells(former: &Upstream, built: &Upstream) -> bool {
    let mut pairs = former.servers.iter().zip(&built.servers);
    pairs.all(|(one, other)| one.cell == other.cell)
}

fn parse_trusted(networks: Option<&[String]>) -> Result<Option<Rc<Networks>>, SnapshotError> {
    let parsed = networks.map(Networks::parse).transpose();
    let trusted = parsed.map_err(|error| SnapshotError(format!("trusted_proxies: {error}")))?;
    Ok(trusted.map(Rc::new))
}

fn build_listeners(
    specs: Vec<(snapshot::Listener, Option<ListenerTls>)>,
    trusted: Option<&Rc<Networks>>,
    upstreams: usize,
) -> Result<HashMap<String, Rc<Settings>>, SnapshotError> {
    let trusted = trusted.cloned().unwrap_or_default();
    let build = |(spec, tls): (snapshot::Listener, _)| {
        let (address, name) = (spec.address.clone(), spec.name.clone());
        let settings = Settings::build(spec, tls, &trusted, upstreams)
            .map_err(|error| SnapshotError(format!("listener `{name}`: {error}")))?;
        Ok((address, Rc::new(settings)))
    };
    specs.into_iter().map(build).collect()
}

pub(crate) fn parse_log(log: &snapshot::AccessLog) -> Result<(Format, Destination), SnapshotError> {
    let format =
        Format::parse(&log.format).map_err(|error| SnapshotError(format!("access_log.format: {error}")))?;
    let to = Destination::parse(&log.to).map_err(|error| SnapshotError(format!("access_log.to: {error}")))?;
    Ok((format, to))
}

fn open_log(log: &snapshot::AccessLog) -> Result<Rc<AccessLog>, SnapshotError> {
    let (format, to) = parse_log(log)?;
    AccessLog::open(format, to, log.buffer_bytes, log.flush)
        .map(Rc::new)
        .map_err(|error| SnapshotError(format!("access_log.to: cannot open `{}`: {error}", log.to)))
}
