//! Slots of clients: how many of their requests run at once, over all workers of a node.

use std::any::Any;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use headgate_shared::{Dictionary, Number, Owned, Value};
use serde::Deserialize;

use super::objects::{BadAction, Objects};
use super::who::Who;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note};

/// Takes a slot for as long as the request runs, if its client has one left; else the request is the hook's.
///
/// Each worker counts its own under the client's key, a zero byte and its process id; the sum over all workers counts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeSlot {
    who: Who,
    limit: i64,
    /// Seconds that counts, and workers, live unless the plugin renews them.
    lease: f64,
    /// Where slots are counted, and where the workers are named.
    slots: usize,
    workers: usize,
    /// The note that holds the slot, for [`super::state::EndNoted`].
    note: Name,
    #[serde(skip)]
    tables: Option<[Arc<Dictionary>; 2]>,
    /// The name of this worker, once it is among the workers.
    #[serde(skip)]
    own: OnceCell<Box<[u8]>>,
}

/// One slot, which is given back when this is dropped.
struct Slot {
    slots: Arc<Dictionary>,
    name: Box<[u8]>,
}

impl TakeSlot {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        if !self.lease.is_finite() || self.lease <= 0.0 {
            return Err(BadAction("a lease is not valid".to_owned()));
        }
        self.tables = Some([objects.dictionary(self.slots)?, objects.dictionary(self.workers)?]);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let slot = self.who.key(exchange).and_then(|key| self.taken(&key));
        if let Some(slot) = slot {
            let slot: Rc<dyn Any> = Rc::new(slot);
            exchange.notes.keep(&self.note.0, Note::Held(slot));
            return true;
        }
        false
    }

    fn taken(&self, key: &[u8]) -> Option<Slot> {
        let [slots, workers] = self.tables.as_ref()?;
        let lease_ms = super::time::whole((1000.0 * self.lease).ceil());
        let own = self.own(workers, lease_ms)?;
        let name = named(key, own);
        // written before the others are read: of two at once at most one too few is let in, never one too many
        let count = slots
            .incr(&name, Number::Int(1), Some(Number::Int(0)), lease_ms)
            .ok()?;
        let slot = Slot {
            slots: Arc::clone(slots),
            name,
        };
        let Number::Int(mut count) = count else {
            return None;
        };
        for worker in workers.keys(usize::MAX).ok()? {
            if *worker != *own {
                if let Some(Owned::Int(others)) = slots.get(&named(key, &worker)).ok()? {
                    count += others;
                }
            }
        }
        (count <= self.limit).then_some(slot)
    }

    fn own(&self, workers: &Dictionary, lease_ms: u64) -> Option<&[u8]> {
        if self.own.get().is_none() {
            let own = std::process::id().to_string().into_bytes();
            workers.set(&own, Value::Int(1), lease_ms).ok()?;
            let _ = self.own.set(own.into_boxed_slice());
        }
        self.own.get().map(|own| &**own)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.slots.incr(&self.name, Number::Int(-1), None, 0);
        if matches!(left, Ok(Number::Int(..=0))) {
            let _ = self.slots.delete(&self.name);
        }
    }
}

fn named(key: &[u8], worker: &[u8]) -> Box<[u8]> {
    [key, b"\0", worker].concat().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(limit: i64) -> TakeSlot {
        let mut action: TakeSlot = serde_json::from_str(&format!(
            r#"{{"who": {{"by": ["address"], "ipv4_prefix": 32, "ipv6_prefix": 64}}, "limit": {limit}, "lease": 30.0,
                "slots": 0, "workers": 1, "note": "n"}}"#
        ))
        .unwrap();
        let table = || Arc::new(Dictionary::create(1 << 16).unwrap());
        let objects = Objects {
            dictionaries: vec![table(), table()],
            ..Objects::default()
        };
        action.prepare(&objects).unwrap();
        action
    }

    #[test]
    fn a_slot_is_free_when_it_is_dropped() {
        let action = action(2);
        let held = [action.taken(b"k").unwrap(), action.taken(b"k").unwrap()];
        assert!(action.taken(b"k").is_none());
        assert!(action.taken(b"other").is_some());
        drop(held);
        assert!(action.tables.as_ref().unwrap()[0].is_empty().unwrap());
        assert!(action.taken(b"k").is_some());
    }

    #[test]
    fn slots_of_other_workers_count() {
        let action = action(3);
        let [slots, workers] = action.tables.as_ref().unwrap();
        workers.set(b"1", Value::Int(1), 0).unwrap();
        slots.set(&named(b"k", b"1"), Value::Int(2), 0).unwrap();
        slots.set(&named(b"k", b"gone"), Value::Int(9), 0).unwrap();
        let held = action.taken(b"k");
        assert!(held.is_some());
        assert!(action.taken(b"k").is_none());
    }
}
