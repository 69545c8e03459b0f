//! Numbers that nobody can foretell, without a system call for each: a keyed hash of a counter.

use std::cell::Cell;

use siphasher::sip::SipHasher13;

use super::objects::BadAction;

/// See the module.
#[derive(Default)]
pub(super) struct Chance {
    hasher: SipHasher13,
    counter: Cell<u64>,
}

impl Chance {
    pub(super) fn seeded() -> Result<Self, BadAction> {
        let mut seed = [0; 16];
        aws_lc_rs::rand::fill(&mut seed)
            .map_err(|_| BadAction("the system gives no random numbers".to_owned()))?;
        Ok(Self {
            hasher: SipHasher13::new_with_key(&seed),
            counter: Cell::new(0),
        })
    }

    pub(super) fn next(&self) -> u64 {
        let counter = self.counter.get();
        self.counter.set(counter.wrapping_add(1));
        self.hasher.hash(&counter.to_le_bytes())
    }

    /// Whether it hits, in so many of a hundred calls.
    pub(super) fn hits(&self, percent: f64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "53 bits are left")]
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        part * 100.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hits_as_often_as_it_should() {
        let chance = Chance::seeded().unwrap();
        let hits = |percent: f64| (0..10_000).filter(|_| chance.hits(percent)).count();
        assert_eq!(hits(100.0), 10_000);
        assert_eq!(hits(0.0), 0);
        // ten standard deviations around what is to be expected
        assert!((2_067..2_933).contains(&hits(25.0)));
    }
}
