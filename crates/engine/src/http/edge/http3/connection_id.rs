//! The ids that clients address our connections by: whose they are, and that they are ours.
//!
//! # How it works
//! An id is a nonce, the number of the endpoint that has issued it, masked, and a checksum; mask and checksum come of the
//! nonce and a secret that all workers share. So any worker can tell whose a packet is, and nobody else can tell two ids
//! of one connection from those of two (RFC 9000 section 5.1).

use std::hash::Hasher;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use siphasher::sip::SipHasher13;

const NONCE_BYTES: usize = 6;
const ENDPOINT_BYTES: usize = 4;
const CHECK_BYTES: usize = 2;

/// Bytes of every id.
pub(super) const ID_BYTES: usize = NONCE_BYTES + ENDPOINT_BYTES + CHECK_BYTES;

/// What ids are made and read with, from a secret of all workers.
#[derive(Clone)]
pub(super) struct IdKey([u8; 16]);

impl IdKey {
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(secret) {
            *to = *from;
        }
        Self(key)
    }

    fn hash(&self, part: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(part);
        hasher.write(bytes);
        hasher.finish()
    }

    fn mask(&self, nonce: &[u8], endpoint: [u8; ENDPOINT_BYTES]) -> [u8; ENDPOINT_BYTES] {
        let mask = self.hash(0, nonce).to_be_bytes();
        std::array::from_fn(|at| endpoint[at] ^ mask[at])
    }

    fn check(&self, body: &[u8]) -> [u8; CHECK_BYTES] {
        let hash = self.hash(1, body).to_be_bytes();
        [hash[0], hash[1]]
    }

    fn write(&self, nonce: [u8; NONCE_BYTES], endpoint: u32) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        let (body, check) = id.split_at_mut(NONCE_BYTES + ENDPOINT_BYTES);
        body[..NONCE_BYTES].copy_from_slice(&nonce);
        body[NONCE_BYTES..].copy_from_slice(&self.mask(&nonce, endpoint.to_be_bytes()));
        check.copy_from_slice(&self.check(body));
        id
    }

    /// The endpoint that has issued an id. `None`: none of ours has.
    pub(super) fn read(&self, id: &[u8]) -> Option<u32> {
        let (body, check) = id.split_at_checked(NONCE_BYTES + ENDPOINT_BYTES)?;
        if check != self.check(body) {
            return None;
        }
        let (nonce, masked) = body.split_at(NONCE_BYTES);
        let masked = masked.try_into().ok()?;
        Some(u32::from_be_bytes(self.mask(nonce, masked)))
    }
}

/// Issues ids of one endpoint.
pub(super) struct Ids {
    pub(super) key: IdKey,
    pub(super) endpoint: u32,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; NONCE_BYTES];
        // without randomness no handshake would have come this far
        let _ = aws_lc_rs::rand::fill(&mut nonce);
        ConnectionId::new(&self.key.write(nonce, self.endpoint))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.key.read(id).map(drop).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// What a datagram says of where it belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Addressed {
    /// To this endpoint.
    To(u32),
    /// It may begin a connection.
    New,
    /// To nobody known.
    Unknown,
}

/// Whom a datagram is for (RFC 8999: this holds for every version of QUIC).
pub(super) fn addressed(datagram: &[u8], key: &IdKey) -> Addressed {
    let Some(first) = datagram.first() else {
        return Addressed::Unknown;
    };
    let is_long = first & 0x80 != 0;
    let id = if is_long {
        let length = datagram.get(5).copied().map_or(0, usize::from);
        datagram.get(6..6 + length)
    } else {
        datagram.get(1..=ID_BYTES)
    };
    match id.filter(|id| id.len() == ID_BYTES).and_then(|id| key.read(id)) {
        Some(endpoint) => Addressed::To(endpoint),
        None if is_long => Addressed::New,
        None => Addressed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_whose_they_are_to_those_who_share_the_secret() {
        let key = IdKey::new(&[7; 16]);
        let id = key.write([1, 2, 3, 4, 5, 6], 0xdead_beef);
        assert_eq!(key.read(&id), Some(0xdead_beef));
        for at in 0..ID_BYTES {
            let mut changed = id;
            changed[at] ^= 1;
            assert_ne!(key.read(&changed), Some(0xdead_beef));
        }
        assert_eq!(IdKey::new(&[8; 16]).read(&id), None);
    }

    #[test]
    fn two_ids_of_an_endpoint_have_nothing_in_common() {
        let key = IdKey::new(&[7; 16]);
        let (one, other) = (key.write([1; 6], 5), key.write([2; 6], 5));
        assert_ne!(one[6..10], other[6..10]);
    }

    #[test]
    fn datagrams_are_addressed_by_either_form() {
        let key = IdKey::new(&[7; 16]);
        let id = key.write([9; 6], 77);
        let short = [&[0x40][..], &id, b"rest"].concat();
        assert_eq!(addressed(&short, &key), Addressed::To(77));
        let long = [&[0xc0, 0, 0, 0, 1, 12][..], &id, b"rest"].concat();
        assert_eq!(addressed(&long, &key), Addressed::To(77));
        let first = [&[0xc0, 0, 0, 0, 1, 8][..], b"whatever", b"rest"].concat();
        assert_eq!(addressed(&first, &key), Addressed::New);
        assert_eq!(addressed(&[0x40; 40], &key), Addressed::Unknown);
        assert_eq!(addressed(&[0x40], &key), Addressed::Unknown);
        assert_eq!(addressed(&[0xc0], &key), Addressed::New);
        assert_eq!(addressed(&[], &key), Addressed::Unknown);
    }
}
