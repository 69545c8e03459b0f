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
    values: SmallVec<[ParamValue; 4]>,
}

/// One value: the index of its name, and where in the bytes it is, decoded and as it stands in the path.
#[derive(Debug, Clone, Copy)]
struct ParamValue {
    name: u32,
    decoded: (u32, u32),
    raw: (u32, u32),
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names and values in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let names = self.names.as_deref().unwrap_or(&[]);
        self.values.iter().map(move |value| {
            let (start, end) = value.decoded;
            let text = &self.bytes[start as usize..end as usize];
            (names[value.name as usize].as_str(), text)
        })
    }

    /// The value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|pair| pair.1)
    }

    /// The parameter `name` as it stands in the path: percent-encoded, for use in another path.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        let names = self.names.as_deref()?;
        let value = self
            .values
            .iter()
            .find(|value| names[value.name as usize] == name)?;
        Some(&self.bytes[value.raw.0 as usize..value.raw.1 as usize])
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
        let mut append = |text: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(text);
            let as_offset = |at: usize| u32::try_from(at).expect("a path is far below 4 GiB");
            (as_offset(start), as_offset(self.bytes.len()))
        };
        let decoded = percent_decode(raw);
        let place = append(&decoded);
        let raw = if *decoded == *raw { place } else { append(raw) };
        self.values.push(ParamValue {
            name: u32::try_from(name).expect("a pattern has few names"),
            decoded: place,
            raw,
        });
    }
}
