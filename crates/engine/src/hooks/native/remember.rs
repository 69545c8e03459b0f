//! Requests that are as others that a hook has let pass.

use std::sync::Arc;

use serde::Deserialize;

use super::objects::{BadAction, Objects};
use super::passed::{Missed, Passed, LONGEST};
use super::source::Source;
use crate::hooks::exchange::Exchange;

/// Lets requests pass whose parts are as those of one that the hook has let pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remember {
    by: Vec<Source>,
    passed: usize,
    #[serde(skip)]
    known: Arc<Passed>,
}

impl Remember {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        let known = objects.passed.get(self.passed);
        self.known = Arc::clone(known.ok_or_else(|| BadAction("no such memory of values".to_owned()))?);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> Result<(), Option<Missed>> {
        let mut value = Vec::with_capacity(64);
        let request = exchange.request.borrow();
        for source in &self.by {
            // the byte tells apart what is empty and what is not there; no part has a zero byte
            if source.append(exchange, &request, &mut value) {
                value.push(0);
            } else {
                value.push(b'\n');
            }
        }
        if self.known.values().contains(&*value) {
            return Ok(());
        }
        Err((value.len() <= LONGEST).then(|| Missed {
            passed: Arc::clone(&self.known),
            value,
        }))
    }
}
