//! Native actions: what a hook of a plugin does, written down, so that it is done here and the hook is not called.
//!
//! # How it works
//! A hook may come with a list of actions. Each is done in its turn, or says that only the hook knows ([`Ran::Ask`]): the hook
//! is called then, as if it had no actions. So that nothing is done twice, whatever may ask comes before whatever changes
//! something; [`Native::read`] refuses another order.
//!
//! | file | duty |
//! |---|---|
//! | [`source`] | the parts of a request that actions read |
//! | [`objects`] | what actions use that a text cannot say |
//! | [`ask`], [`found`], [`listed`], [`remember`], [`passed`] | actions that only look |
//! | [`edit`], [`cors`], [`id`], [`key`] | actions on header fields |
//! | [`coding`], [`accepted`] | content codings of responses |
//! | [`signed`] | signatures of targets |
//! | [`sample`], [`chance`] | what is left to chance; bodies that hooks need not see |
//! | [`throttle`], [`count`], [`rate_fields`] | rates and quotas, and what clients are told of them |
//! | [`slot`], [`once`] | requests that run at once; values that come once |
//! | [`tally`], [`tally_call`], [`shape`] | what requests there are, counted for the plugin |
//! | [`state`], [`told`] | what later hooks and actions are told |
//! | [`who`], [`network`], [`period`], [`time`] | whom requests are counted for, and in which span |

mod accepted;
mod ask;
mod chance;
mod coding;
mod cors;
mod count;
mod edit;
mod found;
mod id;
mod key;
mod listed;
mod network;
mod objects;
mod once;
mod passed;
mod period;
mod rate_fields;
mod remember;
mod sample;
mod shape;
mod signed;
mod slot;
mod source;
mod state;
mod tally;
mod tally_call;
mod throttle;
mod time;
mod told;
mod who;

use serde::Deserialize;

pub use self::objects::{BadAction, Objects};
pub use self::passed::{Missed, Passed};
pub use self::period::Period;
pub use self::tally::{Call, Seen, Tally};
pub use self::told::{Said, Told};
use super::exchange::Exchange;
use crate::snapshot::Phase;

/// The actions of one hook.
pub struct Native {
    actions: Box<[Action]>,
    phase: Phase,
}

/// What became of the actions of a hook.
pub enum Ran {
    /// All are done: so is the hook.
    Done,
    /// The hook is to be called; if it lets the request pass, that may be remembered.
    Ask(Option<Missed>),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Action {
    AskIf(ask::AskIf),
    AskBeyond(ask::AskBeyond),
    Remember(remember::Remember),
    EditFields(edit::EditFields),
    CorsFields(cors::CorsFields),
    SetId(id::SetId),
    NotedField(id::NotedField),
    KnownKey(key::KnownKey),
    Throttle(throttle::Throttle),
    Count(count::Count),
    RateFields(rate_fields::RateFields),
    AskFound(found::AskFound),
    AskListed(listed::AskListed),
    PassOnce(once::PassOnce),
    SignedTarget(signed::SignedTarget),
    TakeSlot(slot::TakeSlot),
    SetState(state::SetState),
    Mark(state::Mark),
    EndNoted(state::EndNoted),
    TallyCall(tally_call::TallyCall),
    WantedCoding(coding::WantedCoding),
    CodedResponse(coding::CodedResponse),
    Sample(sample::Sample),
    AskSet(sample::AskSet),
}

impl Native {
    /// Reads the JSON of a list of actions.
    ///
    /// # Errors
    /// It is not valid, or its order is not.
    pub fn read(text: &str, phase: Phase, objects: &Objects) -> Result<Self, BadAction> {
        if !matches!(
            phase,
            Phase::Rewrite
                | Phase::Request
                | Phase::RequestBody
                | Phase::Response
                | Phase::ResponseBody
                | Phase::Log
        ) {
            let name = phase.name();
            return Err(BadAction(format!(
                "hooks of phase `{name}` have no native actions"
            )));
        }
        let mut actions: Vec<Action> =
            serde_json::from_str(text).map_err(|error| BadAction(error.to_string()))?;
        let mut has_changed = false;
        for action in &mut actions {
            action.prepare(objects)?;
            if !action.fits(phase) {
                let name = phase.name();
                return Err(BadAction(format!(
                    "an action does not fit hooks of phase `{name}`\nhint: `EndNoted` and `TallyCall` are for `log`, \
                     `AskSet` alone is for bodies, what changes messages is for the phases before `log`"
                )));
            }
            if has_changed && action.may_ask() {
                return Err(BadAction(
                    "an action that may ask the hook comes after one that changes something\nhint: put it first"
                        .to_owned(),
                ));
            }
            has_changed |= action.changes();
        }
        Ok(Self {
            actions: actions.into_boxed_slice(),
            phase,
        })
    }

    /// Does them. `said` tells what hooks have set an attribute of `request.state` to.
    pub fn run(&self, exchange: &Exchange, said: &Said<'_>) -> Ran {
        for action in &self.actions {
            let is_done = match action {
                Action::AskIf(action) => action.run(exchange),
                Action::AskBeyond(action) => action.run(exchange),
                Action::Remember(action) => match action.run(exchange) {
                    Ok(()) => true,
                    Err(missed) => return Ran::Ask(missed),
                },
                Action::EditFields(action) => action.run(exchange, self.phase),
                Action::CorsFields(action) => action.run(exchange),
                Action::SetId(action) => action.run(exchange),
                Action::NotedField(action) => action.run(exchange),
                Action::KnownKey(action) => action.run(exchange),
                Action::Throttle(action) => action.run(exchange),
                Action::Count(action) => action.run(exchange),
                Action::RateFields(action) => action.run(exchange),
                Action::AskFound(action) => action.run(exchange),
                Action::AskListed(action) => action.run(exchange),
                Action::PassOnce(action) => action.run(exchange, said),
                Action::SignedTarget(action) => action.run(exchange),
                Action::TakeSlot(action) => action.run(exchange),
                Action::SetState(action) => action.run(exchange),
                Action::Mark(action) => action.run(exchange),
                Action::EndNoted(action) => action.run(exchange),
                Action::TallyCall(action) => action.run(exchange, said),
                Action::WantedCoding(action) => action.run(exchange),
                Action::CodedResponse(action) => action.run(exchange),
                Action::Sample(action) => action.run(exchange),
                Action::AskSet(action) => action.run(exchange, said),
            };
            if !is_done {
                return Ran::Ask(None);
            }
        }
        Ran::Done
    }
}

impl Action {
    /// Finds its objects, and checks what it says.
    fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        match self {
            Self::AskIf(_)
            | Self::AskBeyond(_)
            | Self::AskSet(_)
            | Self::SetState(_)
            | Self::Mark(_)
            | Self::EndNoted(_)
            | Self::WantedCoding(_) => Ok(()),
            Self::Remember(action) => action.prepare(objects),
            Self::EditFields(action) => action.prepare(),
            Self::CorsFields(action) => action.prepare(),
            Self::SetId(action) => action.prepare(),
            Self::NotedField(action) => action.prepare(),
            Self::KnownKey(action) => action.prepare(),
            Self::Throttle(action) => action.prepare(objects),
            Self::Count(action) => action.prepare(objects),
            Self::RateFields(action) => action.prepare(objects),
            Self::AskFound(action) => action.prepare(),
            Self::AskListed(action) => action.prepare(objects),
            Self::PassOnce(action) => action.prepare(objects),
            Self::SignedTarget(action) => action.prepare(),
            Self::TakeSlot(action) => action.prepare(objects),
            Self::TallyCall(action) => action.prepare(objects),
            Self::CodedResponse(action) => action.prepare(),
            Self::Sample(action) => action.prepare(),
        }
    }

    fn may_ask(&self) -> bool {
        !matches!(self, Self::EditFields(_) | Self::SetId(_) | Self::Mark(_))
    }

    fn changes(&self) -> bool {
        !matches!(
            self,
            Self::AskIf(_)
                | Self::AskBeyond(_)
                | Self::AskFound(_)
                | Self::AskListed(_)
                | Self::AskSet(_)
                | Self::Remember(_)
                | Self::Sample(_)
        )
    }

    /// Whether it fits a phase: after the response nothing of a message can be changed.
    fn fits(&self, phase: Phase) -> bool {
        if matches!(phase, Phase::RequestBody | Phase::ResponseBody) {
            return matches!(self, Self::AskSet(_));
        }
        match self {
            Self::CodedResponse(_) => phase == Phase::Response,
            Self::EndNoted(_) | Self::TallyCall(_) => phase == Phase::Log,
            Self::AskIf(_)
            | Self::AskBeyond(_)
            | Self::AskFound(_)
            | Self::AskListed(_)
            | Self::AskSet(_) => true,
            _ => phase != Phase::Log,
        }
    }
}
