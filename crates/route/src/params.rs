//! What a route's pattern took out of the path.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::percent::percent_decode;

/// Path parameters of the chosen route: `{version}` of a template, named groups of a regex.
///
/// A group of a regex that took no part in the match is left out. Values are percent-decoded, so `%2F` arrives as `/` (and never split the segment). It owns its bytes and can be
/// reused for the next request without allocating again. A route without parameters costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Params {
    names: Option<Arc<[String]>>,
    bytes: Vec<u8>,
    /// Name's index, then start and end in `bytes`.
    values: SmallVec<[(u32, u32, u32); 4]>,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names and values in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let names = self.names.as_deref().unwrap_or(&[]);
        self.values.iter().map(move |(name, start, end)| {
            let value = &self.bytes[*start as usize..*end as usize];
            (names[*name as usize].as_str(), value)
        })
    }

    /// The value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|pair| pair.1)
    }

    /// Whether the route has no parameters.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Forgets all, keeping the memory for the next request.
    pub fn clear(&mut self) {
        self.names = None;
        self.bytes.clear();
        self.values.clear();
    }

    pub(crate) fn begin(&mut self, names: &Arc<[String]>) {
        self.clear();
        self.names = Some(Arc::clone(names));
    }

    /// Adds the value of the `name`-th name given to `begin`.
    pub(crate) fn push(&mut self, name: usize, raw: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&percent_decode(raw));
        let as_offset = |at: usize| u32::try_from(at).expect("a path is far below 4 GiB");
        self.values
            .push((as_offset(name), as_offset(start), as_offset(self.bytes.len())));
    }
}
