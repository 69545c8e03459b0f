//! A configuration in force: the tables, and the user's code that their hooks are indices of.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use super::Hooks;
use crate::snapshot::{Difference, Snapshot};
use crate::tables::{SnapshotError, Tables};
use crate::trace::Tracer;
use headgate_net::tls::TicketKeys;
use headgate_shared::series::Registry;

/// See the module. Requests hold the one they came under.
pub struct Configuration {
    tables: Tables,
    /// The user's code.
    pub hooks: Rc<dyn Hooks>,
    /// Records requests, where traces are wanted.
    pub(crate) tracer: Option<Rc<Tracer>>,
    has_metrics: bool,
}

impl Configuration {
    /// Checks a snapshot and builds its tables; upstreams that are as they were are taken over from `old`.
    pub(crate) fn build(
        snapshot: Snapshot,
        hooks: Rc<dyn Hooks>,
        ticket_keys: &Arc<TicketKeys>,
        old: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        let has_metrics = snapshot.metrics;
        let known = old.and_then(|old| old.tracer.clone());
        let tracer = snapshot.tracing.clone().map(|settings| {
            known
                .filter(|known| known.settings == settings)
                .unwrap_or_else(|| Rc::new(Tracer::new(settings)))
        });
        let old = old.map(|old| &old.tables);
        let tables = Tables::build(snapshot, ticket_keys, old)?;
        Ok(Self {
            tables,
            hooks,
            tracer,
            has_metrics,
        })
    }

    /// This one with other routes: all else is shared with it, the series included.
    pub(crate) fn changed(&self, difference: Difference) -> Result<Self, SnapshotError> {
        Ok(Self {
            tables: self.tables.changed(difference)?,
            hooks: Rc::clone(&self.hooks),
            tracer: self.tracer.clone(),
            has_metrics: self.has_metrics,
        })
    }

    /// Makes the series that requests are counted in, if metrics are wanted.
    pub(crate) fn measure(&mut self, registry: &Arc<Registry>) {
        if self.has_metrics {
            self.tables.measure(registry);
        }
    }
}

impl Deref for Configuration {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}
