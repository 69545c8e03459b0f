//! What actions tell hooks and later actions: parts of the request, and that a hook had nothing to do.

use std::rc::Rc;

use serde::Deserialize;

use super::source::Source;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note, StateNote};

/// Says a part of the request to hooks, as it is now; empty if it is not there. One that is no text is the hook's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetState {
    /// The attribute of `request.state`.
    state: Name,
    of: Source,
}

impl SetState {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let mut value = Vec::with_capacity(64);
        self.of.append(exchange, &exchange.request.borrow(), &mut value);
        let Ok(value) = std::str::from_utf8(&value) else {
            return false;
        };
        exchange.notes.say(StateNote {
            name: Rc::clone(&self.state.0),
            value: value.into(),
            is_default: false,
        });
        true
    }
}

/// Notes that the hook was not called: the last of its actions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    note: Name,
}

impl Mark {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        exchange.notes.keep(&self.note.0, Note::Mark);
        true
    }
}

/// Ends what an action has noted: a mark, a slot. Without the note there was a hook in its place, and this one is called, too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndNoted {
    note: String,
}

impl EndNoted {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        exchange.notes.end(&self.note)
    }
}
