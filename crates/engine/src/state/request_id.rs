//! Request ids: 32 hexadecimal digits, unique across workers, made without a system call.
//!
//! How it works: the first half is random for each worker. The second half is a counter with a random start, sent
//! through a bijection (the finaliser of splitmix64), so that ids of one worker never repeat within 2^64 requests and
//! neighbours look nothing alike. They are names, not secrets.

use headgate_wire::write_hex;

/// Length of a request id in bytes. It is the shape of nginx's `$request_id` and of a W3C trace id.
pub const LENGTH: usize = 32;

/// Longest id that is taken over from a client.
const MAX_FOREIGN_BYTES: usize = 128;

/// The source of one worker's request ids.
#[derive(Debug)]
pub struct RequestIds {
    prefix: [u8; LENGTH / 2],
    counter: u64,
}

impl RequestIds {
    /// Starts a sequence; `seed` must be random and differ between workers.
    pub fn new(seed: [u8; 16]) -> Self {
        let seed = u128::from_be_bytes(seed);
        let mut prefix = [0; LENGTH / 2];
        write_hex(&mut prefix, u64::try_from(seed >> 64).expect("half of 128 bits"));
        Self {
            prefix,
            counter: u64::try_from(seed & u128::from(u64::MAX)).expect("half of 128 bits"),
        }
    }

    /// Writes the next id into `buffer` and returns it as text.
    pub fn next<'a>(&mut self, buffer: &'a mut [u8; LENGTH]) -> &'a str {
        self.counter = self.counter.wrapping_add(1);
        let (start, end) = buffer.split_at_mut(LENGTH / 2);
        start.copy_from_slice(&self.prefix);
        let end = end.first_chunk_mut().expect("the other half");
        write_hex(end, mix(self.counter));
        std::str::from_utf8(buffer).expect("hexadecimal digits are ASCII")
    }
}

/// Whether an id that a client sent may be taken over: 1 to 128 letters, digits and `-_.:=+/`, so that it needs no
/// quoting in any log, field or page.
pub fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_FOREIGN_BYTES).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte))
}

/// The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64 bits.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_worker_differ_and_are_hexadecimal() {
        let mut ids = RequestIds::new([7; 16]);
        let mut buffer = [0; LENGTH];
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let id = ids.next(&mut buffer);
            assert!(id.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{id}");
            assert!(seen.insert(id.to_owned()), "{id} came twice");
        }
    }

    #[test]
    fn workers_with_other_seeds_make_other_ids() {
        let (mut one, mut other) = ([0; LENGTH], [0; LENGTH]);
        let mut seed = [1; 16];
        RequestIds::new(seed).next(&mut one);
        seed[0] = 2;
        RequestIds::new(seed).next(&mut other);
        assert_ne!(one, other);
    }

    #[test]
    fn counter_wraps_without_panic() {
        let mut ids = RequestIds::new([0xff; 16]);
        let mut buffer = [0; LENGTH];
        assert_eq!(ids.next(&mut buffer), "ffffffffffffffff0000000000000000");
    }

    #[test]
    fn accepts_only_harmless_ids_of_clients() {
        assert!(is_acceptable(b"Root=1-67891233-abcdef012345678912345678"));
        assert!(is_acceptable(b"550e8400-e29b-41d4-a716-446655440000"));
        assert!(is_acceptable(&[b'a'; 128]));
        for id in [
            &b""[..],
            b"a b",
            b"a\"b",
            b"a\nb",
            b"<b>",
            b"a;b",
            b"\xff",
            "é".as_bytes(),
            &[b'a'; 129],
        ] {
            assert!(!is_acceptable(id), "{id:?}");
        }
    }
}
