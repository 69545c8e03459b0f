//! Hooks: their table, one call of one, and what its result means to the engine.

pub(crate) mod calling;
pub(crate) mod connection_hooks;
pub(crate) mod hook_times;
pub(crate) mod hooks;
pub(crate) mod message_hooks;
pub(crate) mod spec;
pub(crate) mod verdict;
