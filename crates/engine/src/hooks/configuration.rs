//! A configuration in force: the tables, and the user's code that their hooks are indices of.

use std::ops::Deref;
use std::rc::Rc;

use super::Hooks;
use crate::snapshot::Difference;
use crate::tables::assembly::Assembly;
use crate::tables::{SnapshotError, Tables};
use crate::trace::Tracer;

/// See the module. Requests hold the one they came under.
pub struct Configuration {
    tables: Tables,
    /// The user's code.
    pub hooks: Rc<dyn Hooks>,
    /// Records requests, where traces are wanted.
    pub(crate) tracer: Option<Rc<Tracer>>,
}

impl Configuration {
    /// Finishes tables whose assembly is ready; they are of a worker in which `old` is in force.
    pub(crate) fn finish(
        assembly: Assembly,
        hooks: Rc<dyn Hooks>,
        old: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        let known = old.and_then(|old| old.tracer.clone());
        let tracer = assembly.snapshot().tracing.clone().map(|settings| {
            known
                .filter(|known| known.settings == settings)
                .unwrap_or_else(|| Rc::new(Tracer::new(settings)))
        });
        let tables = assembly.finish()?;
        Ok(Self {
            tables,
            hooks,
            tracer,
        })
    }

    /// This one with other routes: all else is shared with it, the series included.
    pub(crate) fn changed(&self, difference: Difference) -> Result<Self, SnapshotError> {
        Ok(Self {
            tables: self.tables.changed(difference)?,
            hooks: Rc::clone(&self.hooks),
            tracer: self.tracer.clone(),
        })
    }
}

impl Deref for Configuration {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}
