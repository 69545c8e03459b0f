//! The servers that a request was tried on.

use smallvec::SmallVec;

/// Servers that are not to be chosen again for a request: a few, whatever the size of the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried(SmallVec<[u32; 4]>);

impl Tried {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a server, by its index.
    pub fn insert(&mut self, server: usize) {
        if let Ok(index) = u32::try_from(server) {
            if !self.0.contains(&index) {
                self.0.push(index);
            }
        }
    }

    /// Whether the server was tried.
    pub fn contains(&self, server: usize) -> bool {
        self.0.iter().any(|index| *index as usize == server)
    }

    /// How many were tried.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was tried.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<usize> for Tried {
    fn from_iter<I: IntoIterator<Item = usize>>(servers: I) -> Self {
        let mut tried = Self::new();
        servers.into_iter().for_each(|server| tried.insert(server));
        tried
    }
}
