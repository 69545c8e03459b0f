//! The interpreter: its lock and contexts (all `unsafe` is in [`gil`]), text, bytes and pieces of bodies; the engine's log as Python's.

pub(crate) mod bytes;
pub(crate) mod engine_log;
pub(crate) mod gil;
pub(crate) mod helper;
pub(crate) mod piece;
pub(crate) mod text;
