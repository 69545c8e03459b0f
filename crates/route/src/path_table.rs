//! From a path to the routes whose pattern matches it.
//!
//! How it works: routes are known here by their rank, a number that already says which of two matching routes is to be
//! tried first (see [`crate::router`]). Exact paths are one hash lookup. Prefixes are a sorted list in which each knows
//! the next shorter prefix of itself: one binary search finds the last candidate, the links lead to all others.
//! Templates are a tree of segments (see `template_tree`). Regexes are tried one after the other.

use std::collections::HashMap;
use std::ops::ControlFlow;

use regex::bytes::Regex;

use crate::path_pattern::PathPattern;
use crate::rank::{Rank, Ranks};
use crate::template_tree::TemplateTree;

#[derive(Debug, Default)]
pub(crate) struct PathTable {
    exact: HashMap<Box<[u8]>, Vec<Rank>>,
    /// `/api` for the prefix `/api/`.
    bare: HashMap<Box<[u8]>, Vec<Rank>>,
    prefixes: Vec<Prefix>,
    templates: TemplateTree,
    regexes: Vec<(Regex, Rank)>,
    any: Vec<Rank>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<[u8]>,
    /// Index of the longest other prefix that this one starts with.
    shorter: Option<usize>,
    ranks: Vec<Rank>,
}

impl PathTable {
    /// Adds a route; to be called in the order of ranks.
    pub(crate) fn insert(&mut self, pattern: &PathPattern, rank: Rank) {
        match pattern {
            PathPattern::Any => self.any.push(rank),
            PathPattern::Exact(path) => push(&mut self.exact, path.as_bytes(), rank),
            PathPattern::Prefix(text) => {
                if let Some(bare) = text.strip_suffix('/') {
                    push(&mut self.bare, bare.as_bytes(), rank);
                }
                self.prefixes.push(Prefix {
                    text: text.as_bytes().into(),
                    shorter: None,
                    ranks: vec![rank],
                });
            }
            PathPattern::Template(template) => self.templates.insert(template, rank),
            PathPattern::Regex(regex) => self.regexes.push((regex.clone(), rank)),
        }
    }

    /// Sorts and links the prefixes, after the last `insert`.
    pub(crate) fn finish(&mut self) {
        self.prefixes.sort_by(|a, b| a.text.cmp(&b.text));
        self.prefixes.dedup_by(|next, kept| {
            let is_same = next.text == kept.text;
            if is_same {
                kept.ranks.append(&mut next.ranks);
            }
            is_same
        });
        for at in 1..self.prefixes.len() {
            let mut shorter = Some(at - 1);
            while let Some(other) = shorter {
                if self.prefixes[at].text.starts_with(&self.prefixes[other].text) {
                    break;
                }
                shorter = self.prefixes[other].shorter;
            }
            self.prefixes[at].shorter = shorter;
        }
    }

    /// Shows the routes whose pattern matches `path` (normal form), the first to be tried first.
    pub(crate) fn visit(
        &self,
        path: &[u8],
        visit: &mut dyn FnMut(Rank) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(ranks) = self.exact.get(path) {
            ranks.iter().try_for_each(|rank| visit(*rank))?;
        }
        let mut open = Ranks::new();
        if !self.prefixes.is_empty() {
            open.extend(self.bare.get(path).into_iter().flatten().copied());
            self.collect_prefixes(path, &mut open);
        }
        if !self.templates.is_empty() {
            self.templates.collect(path, &mut open);
            open.sort_unstable();
        }
        open.iter().try_for_each(|rank| visit(*rank))?;
        for (regex, rank) in &self.regexes {
            if regex.is_match(path) {
                visit(*rank)?;
            }
        }
        self.any.iter().try_for_each(|rank| visit(*rank))
    }

    fn collect_prefixes(&self, path: &[u8], out: &mut Ranks) {
        let after = self.prefixes.partition_point(|prefix| *prefix.text <= *path);
        let mut next = after.checked_sub(1);
        let Some(last) = next else { return };
        let shared = shared_len(&self.prefixes[last].text, path);
        while let Some(at) = next {
            let prefix = &self.prefixes[at];
            // All of this chain start alike, so the shared length says which of them the path starts with.
            if prefix.text.len() <= shared {
                out.extend_from_slice(&prefix.ranks);
            }
            next = prefix.shorter;
        }
    }
}

fn push(map: &mut HashMap<Box<[u8]>, Vec<Rank>>, key: &[u8], rank: Rank) {
    map.entry(key.into()).or_default().push(rank);
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
