//! Ids of requests that sort by time: UUIDs of version 7 (RFC 9562 section 5.7).

use std::rc::Rc;
use std::time::SystemTime;

use serde::Deserialize;

use super::chance::Chance;
use super::edit::{check_field, edited};
use super::objects::BadAction;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note, StateNote};
use crate::snapshot::Phase;

/// Gives the request an id in a header field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetId {
    header: String,
    /// Whether an id that came along is kept, if it has 8 to 128 plain characters.
    #[serde(default)]
    accept: bool,
    /// The note that other actions find it by.
    note: Name,
    /// The attribute of `request.state` that hooks find it in.
    state: Name,
    #[serde(skip)]
    chance: Chance,
}

impl SetId {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        self.chance = Chance::seeded()?;
        check_field(&self.header, "")
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let given = self.accept.then(|| self.given(exchange)).flatten();
        let id: Rc<str> = if let Some(id) = given {
            id
        } else {
            let id = uuid7(unix_ms(), [self.chance.next(), self.chance.next()]);
            let name = self.header.as_bytes();
            if !edited(exchange, Phase::Request, |head| head.set(name, id.as_bytes())) {
                return false;
            }
            id
        };
        exchange.notes.keep(&self.note.0, Note::Text((&*id).into()));
        exchange.notes.say(StateNote {
            name: Rc::clone(&self.state.0),
            value: id,
            is_default: true,
        });
        true
    }

    fn given(&self, exchange: &Exchange) -> Option<Rc<str>> {
        let request = exchange.request.borrow();
        let id = request.head.get(self.header.as_bytes())?;
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
        let is_good = (8..=128).contains(&id.len()) && id.iter().all(is_plain);
        is_good
            .then(|| std::str::from_utf8(id).ok().map(Rc::from))
            .flatten()
    }
}

/// Tells the client what an action has noted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotedField {
    header: String,
    note: String,
}

impl NotedField {
    pub(super) fn prepare(&self) -> Result<(), BadAction> {
        check_field(&self.header, "")
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        exchange
            .notes
            .read(&self.note, |note| {
                let Note::Text(text) = note else { return None };
                edited(exchange, Phase::Response, |head| {
                    head.set(self.header.as_bytes(), text.as_bytes())
                })
                .then_some(())
            })
            .is_some()
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The text of a UUID of version 7.
fn uuid7(unix_ms: u64, chance: [u64; 2]) -> Rc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = (unix_ms << 16) | 0x7000 | (chance[0] & 0xfff);
    let low = (0b10 << 62) | (chance[1] >> 2);
    let bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    std::str::from_utf8(&text).expect("digits are ASCII").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_time_version_and_variant() {
        // the example of RFC 9562, appendix A.6
        let id = uuid7(0x017f_22e2_79b0, [0xcc3, 0x18c4_dc0c_0c07_398f << 2]);
        assert_eq!(&*id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    }

    #[test]
    fn ids_of_one_source_differ() {
        let chance = Chance::seeded().unwrap();
        let ids: std::collections::HashSet<_> = (0..1000)
            .map(|_| uuid7(1, [chance.next(), chance.next()]))
            .collect();
        assert_eq!(ids.len(), 1000);
    }
}
