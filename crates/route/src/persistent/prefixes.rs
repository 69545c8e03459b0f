//! Prefixes in the order of their bytes, in parts that copies share.
//!
//! How it works: each prefix knows how long the longest other prefix is that it starts with. One binary search finds the
//! last candidate for a path; all others are beginnings of it, whose lengths are then known.

use std::sync::Arc;

/// A part of so many prefixes is cut in two.
const FULL: usize = 128;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Prefixes<V> {
    /// None is empty.
    parts: Vec<Arc<Vec<Prefix<V>>>>,
}

#[derive(Debug, Clone)]
struct Prefix<V> {
    text: Box<[u8]>,
    /// The length of the longest other prefix that this one starts with; `None` if there is none.
    shorter: Option<usize>,
    value: V,
}

/// Of a prefix: its part, and its place in that.
type Place = (usize, usize);

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<V> Prefixes<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Shows the values of all prefixes that `path` starts with, the longest first.
    pub(crate) fn visit<'p>(&'p self, path: &[u8], visit: &mut dyn FnMut(&'p V)) {
        let Some(last) = self.last_up_to(path) else { return };
        let last = self.at(last);
        let shared = shared_len(&last.text, path);
        let mut next = Some(last);
        while let Some(prefix) = next {
            // All of this chain start alike, so the shared length says which of them the path starts with.
            if prefix.text.len() <= shared {
                visit(&prefix.value);
            }
            next = prefix.shorter.and_then(|len| self.get(&prefix.text[..len]));
        }
    }

    fn at(&self, (part, place): Place) -> &Prefix<V> {
        &self.parts[part][place]
    }

    fn get(&self, text: &[u8]) -> Option<&Prefix<V>> {
        let found = self.at(self.last_up_to(text)?);
        (*found.text == *text).then_some(found)
    }

    /// The last prefix that is not after `text`.
    fn last_up_to(&self, text: &[u8]) -> Option<Place> {
        let part = self
            .parts
            .partition_point(|part| part.first().is_some_and(|first| *first.text <= *text))
            .checked_sub(1)?;
        let after = self.parts[part].partition_point(|prefix| *prefix.text <= *text);
        Some((part, after.checked_sub(1)?))
    }

    /// The length of the longest prefix before `end` that `text` starts with.
    fn longest_in(&self, text: &[u8], end: Option<Place>) -> Option<usize> {
        let mut next = end.map(|place| self.at(place));
        while let Some(prefix) = next {
            if text.starts_with(&prefix.text) {
                return Some(prefix.text.len());
            }
            next = prefix.shorter.and_then(|len| self.get(&prefix.text[..len]));
        }
        None
    }
}

impl<V: Clone + Default> Prefixes<V> {
    /// The value of a prefix, made if it is not there yet.
    pub(crate) fn entry(&mut self, text: &[u8]) -> &mut V {
        let before = self.last_up_to(text);
        let (part, place) = match before {
            Some(place) if *self.at(place).text == *text => place,
            _ => self.insert(text, before),
        };
        &mut Arc::make_mut(&mut self.parts[part])[place].value
    }

    /// Takes a prefix out, if `is_unused` says so of its value, which is changed before.
    pub(crate) fn change(&mut self, text: &[u8], change: impl FnOnce(&mut V), is_unused: fn(&V) -> bool) {
        let Some((part, place)) = self
            .last_up_to(text)
            .filter(|place| *self.at(*place).text == *text)
        else {
            return;
        };
        let prefixes = Arc::make_mut(&mut self.parts[part]);
        change(&mut prefixes[place].value);
        if !is_unused(&prefixes[place].value) {
            return;
        }
        let removed = prefixes.remove(place);
        if prefixes.is_empty() {
            self.parts.remove(part);
        }
        let len = text.len();
        self.link((part, place), text, |shorter| {
            (shorter == Some(len)).then_some(removed.shorter)
        });
    }

    fn insert(&mut self, text: &[u8], before: Option<Place>) -> Place {
        let prefix = Prefix {
            text: text.into(),
            shorter: self.longest_in(text, before),
            value: V::default(),
        };
        let (mut part, mut place) = match before {
            Some((part, place)) => (part, place + 1),
            None => (0, 0),
        };
        if self.parts.is_empty() {
            self.parts.push(Arc::default());
        }
        if self.parts[part].len() >= FULL {
            let tail = Arc::make_mut(&mut self.parts[part]).split_off(FULL / 2);
            self.parts.insert(part + 1, Arc::new(tail));
            if place > FULL / 2 {
                (part, place) = (part + 1, place - FULL / 2);
            }
        }
        Arc::make_mut(&mut self.parts[part]).insert(place, prefix);
        let len = text.len();
        self.link((part, place + 1), text, |shorter| {
            (shorter < Some(len)).then_some(Some(len))
        });
        (part, place)
    }

    /// Changes the links of all that start with `text`, from a place on, where `change` gives another one.
    fn link(
        &mut self,
        (part, place): Place,
        text: &[u8],
        change: impl Fn(Option<usize>) -> Option<Option<usize>>,
    ) {
        let mut from = place;
        for shared in self.parts.iter_mut().skip(part) {
            let end = shared[from.min(shared.len())..]
                .iter()
                .position(|prefix| !prefix.text.starts_with(text))
                .map(|count| from + count);
            let range = from.min(shared.len())..end.unwrap_or(shared.len());
            if shared[range.clone()]
                .iter()
                .any(|prefix| change(prefix.shorter).is_some())
            {
                for prefix in &mut Arc::make_mut(shared)[range] {
                    if let Some(shorter) = change(prefix.shorter) {
                        prefix.shorter = shorter;
                    }
                }
            }
            if end.is_some() {
                return;
            }
            from = 0;
        }
    }
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
