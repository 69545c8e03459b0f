//! HTTP: one request's life, and the ways in and out of it.
//!
//! | folder | duty |
//! |---|---|
//! | [`connection`] | one request after another on a client's connection |
//! | [`edge`] | HTTP/2 from clients, translated into HTTP/1 in memory |
//! | [`exchange`] | one request's life |
//! | [`forward`] | its part that goes to a server |
//! | [`reply`] | local replies: of hooks, routes without an upstream, and failures |
//! | [`fetch`] | requests of the gateway itself |
//! | [`bodies`] | bodies that hooks see |
//! | [`phases`] | running the hooks of a phase |
//! | [`files`] | files below a root |
//! | [`h1`] | HTTP/1: heads, bodies, tunnels |
//! | [`overload`] | what gateways say of their overload |

pub(crate) mod bodies;
pub(crate) mod connection;
pub(crate) mod edge;
pub(crate) mod exchange;
pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod forward;
pub(crate) mod h1;
pub(crate) mod overload;
pub(crate) mod phases;
pub(crate) mod reply;
pub(crate) mod upgraded;
