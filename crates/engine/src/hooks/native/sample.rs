//! Chance that leaves some requests to the hook.

use std::rc::Rc;

use serde::Deserialize;

use super::chance::Chance;
use super::objects::BadAction;
use super::told::{Said, Told};
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, StateNote};

/// Leaves so many requests of a hundred to the hook, and tells it so in `request.state`: it need not throw dice again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    percent: f64,
    /// The attribute of `request.state`.
    state: Name,
    #[serde(skip)]
    chance: Chance,
}

impl Sample {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        if !(0.0..=100.0).contains(&self.percent) {
            let text = format!(
                "`{}` is not a valid percentage; hint: write 0 to 100",
                self.percent
            );
            return Err(BadAction(text));
        }
        self.chance = Chance::seeded()?;
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        if !self.chance.hits(self.percent) {
            return true;
        }
        exchange.notes.say(StateNote {
            name: Rc::clone(&self.state.0),
            value: "sampled".into(),
            is_default: false,
        });
        false
    }
}

/// Leaves requests to the hook for which an attribute of `request.state` is set, by an action or by a hook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskSet {
    state: String,
}

impl AskSet {
    pub(super) fn run(&self, exchange: &Exchange, said: &Said<'_>) -> bool {
        exchange.notes.untold_value(&self.state).is_none() && matches!(said(&self.state), Told::Unset)
    }
}
