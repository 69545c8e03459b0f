//! How paths are read.

use headgate_route::{EncodedSlashes, PathRules};
use serde::Deserialize;

/// How paths are read.
#[derive(Deserialize, Debug, Clone, Copy, Default)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// What becomes of `%2F` and `%5C`.
    pub encoded_slashes: Slashes,
    /// Whether `//` means `/`.
    pub merge_slashes: bool,
}

/// What becomes of an encoded slash.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Slashes {
    /// It stays and separates nothing.
    #[default]
    Keep,
    /// 400.
    Refuse,
    /// It becomes a slash.
    Decode,
}

impl Path {
    /// The same, as the router wants it.
    pub(crate) fn rules(self) -> PathRules {
        PathRules {
            encoded_slashes: match self.encoded_slashes {
                Slashes::Keep => EncodedSlashes::Keep,
                Slashes::Refuse => EncodedSlashes::Refuse,
                Slashes::Decode => EncodedSlashes::Decode,
            },
            merge_slashes: self.merge_slashes,
        }
    }
}
