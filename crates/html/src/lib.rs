//! HTML that is changed where CSS selectors say while it streams through, by Cloudflare's `lol_html`. No I/O, no clock.
//!
//! # How it works
//! [`Rules`] are checked once. A [`Rewriter`] takes one page in pieces of any size and gives what is ready: all but an
//! unfinished tag, comment or the like. There is no tree: an element ends where its own end tag or that of an element
//! around it stands, and what is between is not held.
//!
//! What a page can make a rewriter hold is bounded by [`Options::max_memory_bytes`]: unfinished tags and open elements
//! (counted by the library), what waits for end tags, and what one piece becomes (both counted here, see [`shared`]).

mod changes;
mod encoding;
mod references;
mod rewriter;
mod rules;
mod shared;

pub use encoding::is_supported;
pub use rewriter::{Failure, Options, Rewriter};
pub use rules::{Rule, Rules, WrongRule};
