//! A hash map from bytes in buckets that copies share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Entries of a bucket, on average, at which there will be more buckets.
const FULL: usize = 4;

/// A hash map from bytes. A copy shares its buckets with the original until one of them is changed.
#[derive(Clone)]
pub struct PersistentMap<V> {
    /// Their number is a power of two; none while there are no entries.
    buckets: Vec<Bucket<V>>,
    len: usize,
    hasher: RandomState,
}

type Bucket<V> = Option<Arc<Vec<Entry<V>>>>;

#[derive(Clone)]
struct Entry<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
}

impl<V> Default for PersistentMap<V> {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            len: 0,
            hasher: RandomState::new(),
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for PersistentMap<V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.buckets.iter().flatten().flat_map(|bucket| bucket.iter());
        out.debug_map()
            .entries(entries.map(|entry| (entry.key.escape_ascii().to_string(), &entry.value)))
            .finish()
    }
}

impl<V> PersistentMap<V> {
    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        if self.buckets.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let bucket = self.buckets[self.bucket_of(hash)].as_ref()?;
        let entry = bucket
            .iter()
            .find(|entry| entry.hash == hash && *entry.key == *key)?;
        Some(&entry.value)
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
    fn bucket_of(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }
}

impl<V: Clone> PersistentMap<V> {
    /// The value of a key, made if it is not there yet.
    pub fn entry(&mut self, key: &[u8]) -> &mut V
    where
        V: Default,
    {
        if self.len >= self.buckets.len() * FULL {
            self.grow();
        }
        let hash = self.hasher.hash_one(key);
        let at = self.bucket_of(hash);
        let bucket = Arc::make_mut(self.buckets[at].get_or_insert_default());
        let known = bucket
            .iter()
            .position(|entry| entry.hash == hash && *entry.key == *key);
        let place = known.unwrap_or_else(|| {
            self.len += 1;
            bucket.push(Entry {
                hash,
                key: key.into(),
                value: V::default(),
            });
            bucket.len() - 1
        });
        &mut bucket[place].value
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let at = self.bucket_of(hash);
        let bucket = Arc::make_mut(self.buckets[at].as_mut()?);
        let place = bucket
            .iter()
            .position(|entry| entry.hash == hash && *entry.key == *key)?;
        let entry = bucket.swap_remove(place);
        if bucket.is_empty() {
            self.buckets[at] = None;
        }
        self.len -= 1;
        Some(entry.value)
    }

    fn grow(&mut self) {
        let count = (self.buckets.len() * 2).max(1);
        let mut buckets: Vec<Vec<Entry<V>>> = (0..count).map(|_| Vec::new()).collect();
        let old = std::mem::take(&mut self.buckets);
        self.buckets.resize_with(count, || None);
        for bucket in old.into_iter().flatten() {
            for entry in Arc::unwrap_or_clone(bucket) {
                buckets[self.bucket_of(entry.hash)].push(entry);
            }
        }
        for (place, bucket) in buckets.into_iter().enumerate() {
            self.buckets[place] = (!bucket.is_empty()).then(|| Arc::new(bucket));
        }
    }
}
