//! Clients that a hook has put on a list.

use std::sync::Arc;

use headgate_shared::Dictionary;
use serde::Deserialize;

use super::objects::{BadAction, Objects};
use super::who::Who;
use crate::hooks::exchange::Exchange;

/// Leaves requests to the hook whose client is in a dictionary.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskListed {
    who: Who,
    clients: usize,
    #[serde(skip)]
    table: Option<Arc<Dictionary>>,
}

impl AskListed {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        self.table = Some(objects.dictionary(self.clients)?);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let listed = self
            .who
            .key(exchange)
            .zip(self.table.as_ref())
            .map(|(key, table)| table.contains(&key));
        matches!(listed, Some(Ok(false)))
    }
}
