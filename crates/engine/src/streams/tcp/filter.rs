//! Hooks that see the bytes of a connection, chunk by chunk.

use std::rc::Rc;

use crate::hooks::configuration::Configuration;
use crate::hooks::connection::ConnectionState;
use crate::hooks::{ChunkStep, ChunkVerdict, LocalFuture};
use crate::state::Shared;

use super::flow::Stopped;

/// A chunk on its way through the hooks of its direction.
pub(super) type Filtering = LocalFuture<'static, Result<Vec<u8>, Stopped>>;

/// Sends a chunk through hooks, in order; each may let it pass, replace or swallow it.
pub(super) fn filter(
    tables: &Rc<Configuration>,
    shared: &Rc<Shared>,
    state: &Rc<ConnectionState>,
    hooks: &[usize],
    chunk: &[u8],
) -> Filtering {
    let (tables, shared, state) = (tables.clone(), shared.clone(), state.clone());
    let (hooks, mut chunk) = (hooks.to_vec(), chunk.to_vec());
    Box::pin(async move {
        for hook in hooks {
            shared.begin_request(&*tables.hooks);
            let filtered = match tables.hooks.chunk(hook, &state, &chunk) {
                ChunkStep::Ready(filtered) => filtered,
                ChunkStep::Pending(future) => future.await,
            };
            match filtered {
                ChunkVerdict::Pass => {}
                ChunkVerdict::Replace(other) => chunk = other,
                ChunkVerdict::Failed => return Err(Stopped::HookFailed),
            }
            if state.refusal.borrow().is_some() {
                return Err(Stopped::ByHook);
            }
        }
        Ok(chunk)
    })
}
