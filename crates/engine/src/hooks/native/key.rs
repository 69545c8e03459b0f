//! Keys that tell who a client is, looked up by their hashes.

use std::collections::HashMap;
use std::rc::Rc;

use aws_lc_rs::digest::{digest, SHA256};
use headgate_wire::Head;
use serde::Deserialize;

use super::edit::{check_field, edited};
use super::objects::BadAction;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, StateNote};
use crate::snapshot::Phase;

/// Lets a request pass that has one key, and a known one: takes it out, and says whose it is. The hook decides on others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownKey {
    /// The field that holds the key.
    header: String,
    /// Hashes of keys (SHA-256, in hex), and their owners.
    keys: Vec<(String, Name)>,
    /// The field that tells the server whose key it was.
    owner_header: String,
    /// The attribute of `request.state` that tells hooks.
    state: Name,
    #[serde(skip)]
    owners: HashMap<[u8; 32], Rc<str>>,
    #[serde(skip)]
    secret: [u8; 32],
}

impl KnownKey {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        check_field(&self.header, "")?;
        check_field(&self.owner_header, "")?;
        aws_lc_rs::rand::fill(&mut self.secret)
            .map_err(|_| BadAction("the system gives no random numbers".to_owned()))?;
        for (hash, owner) in std::mem::take(&mut self.keys) {
            check_field(&self.owner_header, &owner.0)?;
            let hash = from_hex(&hash)
                .filter(|hash| hash.len() == 32)
                .ok_or_else(|| BadAction("a hash has 64 hex digits".to_owned()))?;
            self.owners.insert(self.tag(&hash), owner.0);
        }
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let Some(owner) = self.owner(&exchange.request.borrow().head) else {
            return false;
        };
        let is_done = edited(exchange, Phase::Request, |head| {
            head.remove(self.header.as_bytes());
            head.set(self.owner_header.as_bytes(), owner.as_bytes())
        });
        exchange.notes.say(StateNote {
            name: Rc::clone(&self.state.0),
            value: owner,
            is_default: false,
        });
        is_done
    }

    fn owner(&self, head: &Head) -> Option<Rc<str>> {
        let mut values = head.get_all(self.header.as_bytes());
        let (key, None) = (values.next()?, values.next()) else {
            return None;
        };
        let hash = digest(&SHA256, key);
        self.owners.get(&self.tag(hash.as_ref())).cloned()
    }

    /// What is looked up: how long that takes tells a client nothing of the keys.
    fn tag(&self, hash: &[u8]) -> [u8; 32] {
        let mut text = [0; 64];
        text[..32].copy_from_slice(&self.secret);
        text[32..].copy_from_slice(hash);
        let tag = digest(&SHA256, &text);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// The bytes that pairs of hex digits stand for.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `a`.
    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    #[test]
    fn one_known_key_has_an_owner() {
        let mut action: KnownKey = serde_json::from_str(&format!(
            r#"{{"header": "x-key", "keys": [["{A}", "alice"]], "owner_header": "x-consumer", "state": "consumer"}}"#
        ))
        .unwrap();
        action.prepare().unwrap();
        let owner = |keys: &[&str]| {
            let mut head = Head::empty();
            for key in keys {
                head.add(b"X-Key", key.as_bytes()).unwrap();
            }
            action.owner(&head)
        };
        assert_eq!(owner(&["a"]).as_deref(), Some("alice"));
        assert_eq!(owner(&["b"]), None);
        assert_eq!(owner(&["a", "a"]), None);
        assert_eq!(owner(&[]), None);
    }
}
