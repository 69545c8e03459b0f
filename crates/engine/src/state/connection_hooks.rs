//! Running the hooks of a connection.

use std::rc::Rc;

use super::refusal::Refusal;
use super::Shared;
use crate::hooks::connection::ConnectionState;
use crate::hooks::{Step, Verdict};
use headgate_shared::metrics::Counter;

/// Runs hooks of a connection in order until one decides it: refuses it, fails, or chooses what it shows.
pub(crate) async fn run_hooks(
    shared: &Shared,
    state: &Rc<ConnectionState>,
    hooks: &[usize],
) -> Result<(), Refusal> {
    let Some(tables) = state.tables().filter(|_| !hooks.is_empty()) else {
        return Ok(());
    };
    for hook in hooks {
        shared.begin_request(&*tables.hooks);
        let verdict = match tables.hooks.connection(*hook, state) {
            Step::Ready(verdict) => verdict,
            Step::Pending(future) => future.await,
        };
        if matches!(verdict, Verdict::Failed) {
            return Err(Refusal::hook_failed());
        }
        if let Some(reason) = state.refusal.borrow().as_deref() {
            if !reason.is_empty() {
                tracing::info!(
                    client = state.address,
                    listener = state.listener,
                    "refused by a hook: {reason}"
                );
            }
            return Err(Refusal::new("refused_by_hook", Counter::RefusedByHook));
        }
        if state.certificate.borrow().is_some() {
            break;
        }
    }
    Ok(())
}
