//! From a path to the routes whose pattern matches it.
//!
//! How it works: exact paths are one hash lookup. Prefixes are a sorted list (see [`crate::persistent`]), templates a tree
//! of segments (see `template_tree`). Regexes are tried one after the other. A copy of a table shares with the original
//! what neither of them changes.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex::bytes::Regex;
use smallvec::SmallVec;

use crate::path_pattern::PathPattern;
use crate::persistent::{PersistentList, PersistentMap, Prefixes};
use crate::route::Route;
use crate::slots::{compare, insert, remove, Slot, Slots};
use crate::template_tree::Node;

#[derive(Debug, Default, Clone)]
pub(crate) struct PathTable {
    exact: PersistentMap<Slots>,
    /// `/api` for the prefix `/api/`.
    bare: PersistentMap<Slots>,
    prefixes: Prefixes<Slots>,
    templates: Node,
    /// In the order of choice.
    regexes: Vec<(Arc<Regex>, Slot)>,
    any: Slots,
}

impl PathTable {
    /// Adds a route, which is in `routes` already.
    pub(crate) fn insert(&mut self, slot: Slot, routes: &PersistentList<Route>) {
        match &routes[slot as usize].path {
            PathPattern::Any => insert(&mut self.any, slot, routes),
            PathPattern::Exact(path) => insert(self.exact.entry(path.as_bytes()), slot, routes),
            PathPattern::Prefix(text) => {
                if let Some(bare) = text.strip_suffix('/') {
                    insert(self.bare.entry(bare.as_bytes()), slot, routes);
                }
                insert(self.prefixes.entry(text.as_bytes()), slot, routes);
            }
            PathPattern::Template(template) => self.templates.insert(template, slot, routes),
            PathPattern::Regex(regex) => {
                let at = self
                    .regexes
                    .partition_point(|(_, other)| compare(*other, slot, routes).is_lt());
                self.regexes.insert(at, (regex.clone(), slot));
            }
        }
    }

    /// Takes a route with this pattern out.
    pub(crate) fn remove(&mut self, pattern: &PathPattern, slot: Slot) {
        match pattern {
            PathPattern::Any => remove(&mut self.any, slot),
            PathPattern::Exact(path) => remove_from(&mut self.exact, path.as_bytes(), slot),
            PathPattern::Prefix(text) => {
                if let Some(bare) = text.strip_suffix('/') {
                    remove_from(&mut self.bare, bare.as_bytes(), slot);
                }
                self.prefixes
                    .change(text.as_bytes(), |slots| remove(slots, slot), SmallVec::is_empty);
            }
            PathPattern::Template(template) => self.templates.remove(template, slot),
            PathPattern::Regex(_) => self.regexes.retain(|(_, other)| *other != slot),
        }
    }

    /// Whether no route is left in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.prefixes.is_empty()
            && self.templates.is_empty()
            && self.regexes.is_empty()
            && self.any.is_empty()
    }

    /// Shows the routes whose pattern matches `path` (normal form), the first to be tried first.
    pub(crate) fn visit(
        &self,
        path: &[u8],
        routes: &PersistentList<Route>,
        visit: &mut dyn FnMut(Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(slots) = self.exact.get(path) {
            slots.iter().try_for_each(|slot| visit(*slot))?;
        }
        let mut open = SmallVec::<[Slot; 8]>::new();
        if !self.prefixes.is_empty() {
            open.extend(self.bare.get(path).into_iter().flatten().copied());
            self.prefixes
                .visit(path, &mut |slots| open.extend_from_slice(slots));
        }
        if !self.templates.is_empty() {
            self.templates.collect(path, &mut open);
            open.sort_unstable_by(|one, other| compare(*one, *other, routes));
        }
        open.iter().try_for_each(|slot| visit(*slot))?;
        for (regex, slot) in &self.regexes {
            if regex.is_match(path) {
                visit(*slot)?;
            }
        }
        self.any.iter().try_for_each(|slot| visit(*slot))
    }
}

fn remove_from(map: &mut PersistentMap<Slots>, key: &[u8], slot: Slot) {
    if map.get(key).is_none() {
        return;
    }
    let slots = map.entry(key);
    remove(slots, slot);
    if slots.is_empty() {
        map.remove(key);
    }
}
