//! The action that counts calls in a tally.

use std::sync::Arc;

use serde::Deserialize;

use super::ask::FieldName;
use super::objects::{BadAction, Objects};
use super::tally::{Call, Tally};
use super::told::{Said, Told};
use super::who::consumer;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::Name;

/// Counts the request as a call, by the target that an action has said to hooks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TallyCall {
    tally: usize,
    /// The attribute of `request.state` that has the target.
    target: Name,
    /// Fields that are credentials, as consumers are.
    credentials: Vec<FieldName>,
    /// Responses that are not counted.
    except_status: Vec<u16>,
    #[serde(skip)]
    counts: Arc<Tally>,
}

impl TallyCall {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        self.counts = objects.tally(self.tally)?;
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange, said: &Said<'_>) -> bool {
        let Some(target) = exchange.notes.said(&self.target.0) else {
            return false;
        };
        let (request, response) = (exchange.request.borrow(), exchange.response.borrow());
        let status = match (exchange.status.get(), response.as_ref()) {
            (0, Some(response)) => response.status,
            (sent, _) => sent,
        };
        if self.except_status.contains(&status) {
            return true;
        }
        let has_field = self
            .credentials
            .iter()
            .any(|name| request.head.get(name.0.as_bytes()).is_some());
        let is_anonymous = !has_field
            && match consumer(exchange, said) {
                Told::Unset => true,
                Told::Text(_) => false,
                Told::Other => return false,
            };
        self.counts.add(&Call {
            target: target.as_bytes(),
            method: request.method(),
            status,
            types: [
                request.head.get(b"content-type"),
                response
                    .as_ref()
                    .and_then(|response| response.head.get(b"content-type")),
            ],
            is_anonymous,
        })
    }
}
