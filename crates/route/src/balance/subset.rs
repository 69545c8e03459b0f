//! Servers by their metadata: those that a request asks for, and what it gets if there are none.

use std::collections::{BTreeMap, HashMap};

/// What servers are marked with, as names and values.
pub type Metadata = BTreeMap<String, String>;

/// The metadata that a request's servers must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subset(Metadata);

impl Subset {
    /// All of these are wanted; with none, every server will do.
    #[must_use]
    pub fn new(wanted: Metadata) -> Self {
        Self(wanted)
    }

    /// Whether every server will do.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

/// Subsets of which the groups are kept; all are dropped when there are more, for who asks decides how many there are.
const MOST_KEPT: usize = 256;

/// Which servers have which metadata.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Servers by name and value, in order.
    servers: HashMap<String, HashMap<String, Vec<usize>>>,
    /// Places of divisions, from 1: the first one is of all servers.
    places: HashMap<Subset, usize>,
    /// Where requests go if no server of their subset is in rotation, if anywhere.
    pub(super) fallback: Option<Subset>,
}

/// Where the division of a subset is, or which servers it is to be made of.
pub(super) enum Found {
    Known(usize),
    New(Vec<usize>),
}

impl Marked {
    pub(super) fn new(metadata: &[Metadata], fallback: Option<Subset>) -> Self {
        let mut servers: HashMap<String, HashMap<String, Vec<usize>>> = HashMap::new();
        for (at, own) in metadata.iter().enumerate() {
            for (name, value) in own {
                let values = servers.entry(name.clone()).or_default();
                values.entry(value.clone()).or_default().push(at);
            }
        }
        Self {
            servers,
            places: HashMap::new(),
            fallback,
        }
    }

    /// The servers of a subset; none if there are no such.
    pub(super) fn find(&self, subset: &Subset) -> Option<Found> {
        if subset.is_any() {
            return Some(Found::Known(0));
        }
        if let Some(place) = self.places.get(subset) {
            return Some(Found::Known(*place));
        }
        let lists = subset
            .0
            .iter()
            .map(|(name, value)| self.servers.get(name)?.get(value));
        let mut lists = lists.collect::<Option<Vec<_>>>()?;
        lists.sort_unstable_by_key(|list| list.len());
        let (fewest, others) = lists.split_first()?;
        let has_all = |at: &usize| others.iter().all(|list| list.binary_search(at).is_ok());
        let members: Vec<usize> = fewest.iter().copied().filter(has_all).collect();
        (!members.is_empty()).then_some(Found::New(members))
    }

    /// Whether so many are kept that another one would be too much: all are dropped then.
    pub(super) fn drops_all_for(&mut self, subset: &Subset) -> bool {
        let is_full = self.places.len() >= MOST_KEPT && !self.places.contains_key(subset);
        if is_full {
            self.places.clear();
        }
        is_full
    }

    pub(super) fn keep(&mut self, subset: &Subset, place: usize) {
        self.places.insert(subset.clone(), place);
    }
}
