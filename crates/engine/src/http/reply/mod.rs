//! Local replies: from hooks, redirects, fixed texts, files and error pages.
//!
//! | file | duty |
//! |---|---|
//! | [`make`] | the local reply of a route without an upstream |
//! | [`pages`] | error pages |
//! | [`send`] | `response` hooks, then the way to the client |
//! | [`head`] | the head |
//! | [`writer`] | the body |
//! | [`locations`] | targets and locations made of a request's parts |

mod filter;
pub(crate) mod grpc;
mod head;
mod local_reply;
mod locations;
mod make;
pub(crate) mod page;
mod pages;
mod send;
mod tunnel;
mod writer;

pub(crate) use local_reply::{LocalReply, Outcome};
pub(crate) use locations::stripped_path;
pub(crate) use make::{fixed, make, of_bytes};
pub(crate) use pages::{error_page, refuse};
pub(crate) use send::{send, send_last};
