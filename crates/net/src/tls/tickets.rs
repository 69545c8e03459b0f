//! Session tickets (RFC 5077, RFC 8446 section 4.6.1) that every worker can read.
//!
//! # How it works
//! The supervisor makes the keys, gives the same ones to all workers and replaces them from time to time; the newest
//! encrypts, the older ones still decrypt. A ticket is the key's name, a random nonce, and the state under AES-256-GCM.
//! The state is bound to what the listener asks of clients: a session of one listener never opens another that asks for
//! more.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{Aad, Nonce, RandomizedNonceKey, AES_256_GCM, NONCE_LEN};
use rustls::server::ProducesTickets;

const NAME_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// A key as it is handed from the supervisor to its workers: name and secret.
pub const TICKET_KEY_BYTES: usize = NAME_BYTES + SECRET_BYTES;

/// Keys outlive this by far; clients need not keep tickets that can no longer be decrypted.
const LIFETIME_SECONDS: u32 = 12 * 60 * 60;

/// Tickets hold the client's certificates; a client may not make us decrypt anything larger.
const MAX_TICKET_BYTES: usize = 32 * 1024;

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

/// The keys of a worker, the newest first.
#[derive(Default)]
pub struct TicketKeys {
    keys: RwLock<Vec<TicketKey>>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TicketKeys")
    }
}

impl TicketKeys {
    /// Makes a random key if none was given.
    fn complete(&self) {
        let is_empty = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        let mut bytes = [0; TICKET_KEY_BYTES];
        if is_empty && aws_lc_rs::rand::fill(&mut bytes).is_ok() {
            self.replace(&[bytes]);
        }
    }

    /// Takes these keys in place of the old ones; the first encrypts.
    pub fn replace(&self, keys: &[[u8; TICKET_KEY_BYTES]]) {
        let read = |bytes: &[u8; TICKET_KEY_BYTES]| {
            let (name, secret) = bytes.split_at(NAME_BYTES);
            Some(TicketKey {
                name: name.try_into().ok()?,
                key: RandomizedNonceKey::new(&AES_256_GCM, secret).ok()?,
            })
        };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.iter().filter_map(read).collect();
    }
}

/// The tickets of one listener.
#[derive(Debug)]
pub(crate) struct Ticketer {
    keys: Arc<TicketKeys>,
    /// A digest of what the listener asks of clients.
    context: [u8; 32],
}

impl Ticketer {
    pub(crate) fn new(keys: Arc<TicketKeys>, context: &[u8]) -> Self {
        keys.complete();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, context);
        let mut context = [0; 32];
        context.copy_from_slice(digest.as_ref());
        Self { keys, context }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(&self.context), &mut sealed)
            .ok()?;
        Some([&key.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > MAX_TICKET_BYTES {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length = key
            .key
            .open_in_place(nonce, Aad::from(&self.context), &mut plain)
            .ok()?
            .len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticketer(keys: &Arc<TicketKeys>, context: &[u8]) -> Ticketer {
        Ticketer::new(Arc::clone(keys), context)
    }

    #[test]
    fn another_worker_with_the_same_keys_reads_a_ticket() {
        let (here, there) = (Arc::<TicketKeys>::default(), Arc::<TicketKeys>::default());
        here.replace(&[[7; TICKET_KEY_BYTES]]);
        there.replace(&[[9; TICKET_KEY_BYTES], [7; TICKET_KEY_BYTES]]);
        let ticket = ticketer(&here, b"a").encrypt(b"state").unwrap();
        assert_eq!(ticketer(&there, b"a").decrypt(&ticket).unwrap(), b"state");
    }

    #[test]
    fn ticket_of_a_listener_that_asks_for_less_is_not_read() {
        let keys = Arc::<TicketKeys>::default();
        let ticket = ticketer(&keys, b"none").encrypt(b"state").unwrap();
        assert!(ticketer(&keys, b"required").decrypt(&ticket).is_none());
    }

    #[test]
    fn ticket_is_not_read_once_its_key_is_gone_nor_when_changed() {
        let keys = Arc::<TicketKeys>::default();
        let reader = ticketer(&keys, b"a");
        let ticket = reader.encrypt(b"state").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(reader.decrypt(&changed).is_none());
            assert!(reader.decrypt(&ticket[..at]).is_none());
        }
        keys.replace(&[[1; TICKET_KEY_BYTES]]);
        assert!(reader.decrypt(&ticket).is_none());
    }
}
