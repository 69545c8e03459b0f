//! A list of places, some of which may be empty, in parts that copies share.

use std::ops::Index;
use std::sync::Arc;

/// Places in one part.
const PART: usize = 64;

/// A list of places, some of which may be empty. A copy shares its parts with the original until one of them is changed.
#[derive(Debug)]
pub struct PersistentList<T> {
    parts: Vec<Arc<[Option<Arc<T>>; PART]>>,
    /// One more than the last place that was ever set.
    end: usize,
}

impl<T> Default for PersistentList<T> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            end: 0,
        }
    }
}

impl<T> Clone for PersistentList<T> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            end: self.end,
        }
    }
}

impl<T> PersistentList<T> {
    /// What is at a place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&Arc<T>> {
        self.parts.get(place / PART)?[place % PART].as_ref()
    }

    /// Sets a place, which may be past the end, and gives what was there.
    pub fn set(&mut self, place: usize, value: Option<Arc<T>>) -> Option<Arc<T>> {
        while self.parts.len() <= place / PART {
            self.parts.push(Arc::new([const { None }; PART]));
        }
        self.end = self.end.max(place + 1);
        let part = Arc::make_mut(&mut self.parts[place / PART]);
        std::mem::replace(&mut part[place % PART], value)
    }

    /// One more than the last place that was ever set.
    pub fn end(&self) -> usize {
        self.end
    }

    /// What is there, with its places, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<T>)> {
        let places = self.parts.iter().flat_map(|part| part.iter());
        (0..)
            .zip(places)
            .filter_map(|(place, value)| Some((place, value.as_ref()?)))
    }
}

impl<T> Index<usize> for PersistentList<T> {
    type Output = T;

    /// What is at a place that is known to be set.
    #[inline]
    fn index(&self, place: usize) -> &T {
        self.parts[place / PART][place % PART]
            .as_deref()
            .expect("places are only asked for that were set")
    }
}

impl<T> FromIterator<T> for PersistentList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::default();
        for (place, value) in values.into_iter().enumerate() {
            list.set(place, Some(Arc::new(value)));
        }
        list
    }
}
