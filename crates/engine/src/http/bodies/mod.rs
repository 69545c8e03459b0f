//! Bodies that hooks see: read in phase `request`, filtered in `request_body` and `response_body`.
//!
//! # How it works
//! A message whose body no hook wants never comes here. Else its payload flows in pieces through a [`chain`] of stages (hooks,
//! decoders, encoders), each pulled by the one behind it, so that nothing is read faster than the far end takes it. A hook
//! that wants its body whole has it collected in a [`spool`]: memory up to a bound, then a temporary file. What request
//! hooks read with `await request.body()` is read by the request's own task while it waits for them: see [`intake`].
//! On the far side [`made`] carries the pieces to a server, [`filtered`] to the client.

pub(crate) mod begin;
pub(crate) mod chain;
pub(crate) mod coding;
pub(crate) mod failures;
pub(crate) mod filtered;
pub(crate) mod intake;
pub(crate) mod made;
pub(crate) mod outlet;
pub(crate) mod payload;
pub(crate) mod piece;
pub(crate) mod request_body;
pub(crate) mod validators;
pub(crate) mod wanting;
