//! Choice without I/O: which route a request takes, and which server of an upstream gets it.
//!
//! Nothing here waits, reads a clock or draws a random number of its own: time is passed in as milliseconds, the random
//! source is seeded by the caller. The order of choice is written down in [`router`].

mod adaptive;
mod balance;
mod circuit;
mod conditions;
mod error;
mod explain;
mod host_pattern;
mod host_table;
mod line;
mod location;
mod mask;
mod normalise;
mod params;
mod path_pattern;
mod path_table;
mod percent;
mod persistent;
mod rank;
mod readings;
mod recent_times;
mod regexes;
mod route;
pub mod router;
mod slots;
mod template;
mod template_tree;

pub use adaptive::{AdaptiveSpec, AdaptiveState, TimesWindow, WINDOW_MS};
pub use balance::{
    fnv, Balance, Balancer, HashAlgorithm, HashSpec, Loads, Metadata, OutlierSpec, Outliers, ServerSpec,
    ServerStanding, Subset, Tried, UnknownBalance, UnknownHashAlgorithm,
};
pub use circuit::{Circuit, CircuitSpec, CircuitWindow};
pub use conditions::{FieldMatch, Fields};
pub use error::{PathError, PatternError, RouteError};
pub use explain::Verdict;
pub use host_pattern::{host_without_port, HostPattern};
pub use line::{Line, LineSpec, Ticket, LAST_LEVEL};
pub use location::{fill_location, LocationParts};
pub use mask::TargetMask;
pub use normalise::{normalize_path, EncodedSlashes, NormalPath, PathRules};
pub use params::Params;
pub use path_pattern::PathPattern;
pub use percent::percent_decode;
pub use persistent::{PersistentList, PersistentMap};
pub use rank::Listed;
pub use readings::other_readings;
pub use recent_times::RecentTimes;
pub use route::RouteSpec;
pub use router::{Candidate, Found, Router};
pub use template::Template;
