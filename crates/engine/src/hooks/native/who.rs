//! Whom requests are counted for.

use std::rc::Rc;

use serde::Deserialize;

use super::network::client_network;
use super::source::Source;
use super::told::{Said, Told};
use crate::hooks::exchange::Exchange;

/// The longest text that is a key itself, in bytes.
const LONGEST_KEY: usize = 80;

/// The address alone, or a text of parts; without one of them it is the address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    by: Vec<Part>,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
enum Part {
    /// Who an action has said that the client is; hooks may say otherwise once they have been told.
    Consumer,
    Of(Source),
}

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "consumer" {
            return Ok(Self::Consumer);
        }
        Source::try_from(name).map(Self::Of)
    }
}

/// Who an action or a hook has said that the client is.
pub(super) fn consumer(exchange: &Exchange, said: &Said<'_>) -> Told {
    let untold = exchange.notes.untold_value("consumer");
    untold.map_or_else(|| said("consumer"), Told::Text)
}

impl Who {
    /// The key that a request is counted under; none if only a hook can tell.
    pub(super) fn key(&self, exchange: &Exchange) -> Option<Rc<[u8]>> {
        if self.by == [Part::Of(Source::Address)] {
            return Some(self.of_address(exchange));
        }
        let mut text = Vec::with_capacity(LONGEST_KEY);
        for part in &self.by {
            text.push(0);
            let start = text.len();
            match part {
                Part::Consumer => text.extend_from_slice(exchange.notes.untold_value("consumer")?.as_bytes()),
                Part::Of(Source::Address) => text.extend_from_slice(&self.of_address(exchange)),
                Part::Of(source) => {
                    source.append(exchange, &exchange.request.borrow(), &mut text);
                    if *source == Source::Host {
                        text[start..].make_ascii_lowercase();
                    }
                }
            }
            if text.len() == start {
                return Some(self.of_address(exchange));
            }
        }
        (text.len() <= LONGEST_KEY && text.is_ascii()).then(|| text.into())
    }

    fn of_address(&self, exchange: &Exchange) -> Rc<[u8]> {
        let client = &exchange.client;
        let prefixes = (self.ipv4_prefix, self.ipv6_prefix);
        let mut known = client.networks.borrow_mut();
        if let Some((_, key)) = known.iter().find(|(of, _)| *of == prefixes) {
            return Rc::clone(key);
        }
        let network = client_network(&client.address, self.ipv4_prefix, self.ipv6_prefix);
        let key: Rc<[u8]> = network.into_bytes().into();
        known.push((prefixes, Rc::clone(&key)));
        key
    }
}
