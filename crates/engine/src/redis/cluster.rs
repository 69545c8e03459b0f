//! Which node of a cluster has a key: the slots of keys (Redis cluster specification), and who serves them.

use redis::Value;

use super::address::ServerAddress;

/// The number of slots.
const SLOTS: u16 = 16384;

/// Who serves which slots.
#[derive(Default)]
pub(super) struct Slots(Vec<(u16, u16, ServerAddress)>);

impl Slots {
    /// Reads the response to `CLUSTER SLOTS`; a node without a host is `from`, the server that responded.
    pub(super) fn read(response: Value, from: &ServerAddress) -> Self {
        let Value::Array(ranges) = response else {
            return Self::default();
        };
        let range = |range: Value| {
            let Value::Array(parts) = range else { return None };
            let mut parts = parts.into_iter();
            let (first, last) = (number(&parts.next()?)?, number(&parts.next()?)?);
            let Value::Array(node) = parts.next()? else {
                return None;
            };
            let port = number(node.get(1)?)?;
            let host = match (text(node.first()?), from) {
                (Some(host), _) if !host.is_empty() && host != "?" => host,
                (_, ServerAddress::Tcp(host, _)) => host.clone(),
                (_, ServerAddress::Unix(_)) => return None,
            };
            Some((first, last, ServerAddress::Tcp(host, port)))
        };
        Self(ranges.into_iter().filter_map(range).collect())
    }

    /// Who serves a slot; any node if there is no key.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<&ServerAddress> {
        let serves =
            |range: &&(u16, u16, ServerAddress)| slot.is_none_or(|slot| (range.0..=range.1).contains(&slot));
        self.0.iter().find(serves).map(|(_, _, server)| server)
    }

    /// The nodes that serve slots, each once.
    pub(super) fn nodes(&self) -> Vec<ServerAddress> {
        let mut nodes: Vec<ServerAddress> = Vec::new();
        for (_, _, node) in &self.0 {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        nodes
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// The slot of a command's first key, if it has one.
pub(super) fn slot_of(arguments: &[Vec<u8>]) -> Option<u16> {
    let name = arguments.first()?.to_ascii_uppercase();
    let key = match &name[..] {
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => {
            if arguments.get(2)? == b"0" {
                return None;
            }
            arguments.get(3)?
        }
        b"XREAD" | b"XREADGROUP" => {
            let streams = arguments
                .iter()
                .position(|it| it.eq_ignore_ascii_case(b"streams"))?;
            arguments.get(streams + 1)?
        }
        b"OBJECT" | b"BITOP" | b"MEMORY" | b"XGROUP" | b"XINFO" => arguments.get(2)?,
        b"PUBLISH" | b"PING" | b"ECHO" | b"TIME" | b"INFO" | b"SCRIPT" | b"DBSIZE" | b"CLUSTER"
        | b"CONFIG" => return None,
        _ => arguments.get(1)?,
    };
    Some(slot(key))
}

/// The slot of a key: of what is between its first braces, if there is something.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then_some(&rest[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC16 as XMODEM has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // the check value of CRC16/XMODEM, and what `CLUSTER KEYSLOT` says
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    }

    #[test]
    fn the_key_is_found_in_every_command() {
        let command = |words: &[&str]| {
            words
                .iter()
                .map(|word| word.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let foo = Some(12182);
        assert_eq!(slot_of(&command(&["get", "foo"])), foo);
        assert_eq!(slot_of(&command(&["EVAL", "return 1", "1", "foo"])), foo);
        assert_eq!(slot_of(&command(&["EVAL", "return 1", "0"])), None);
        assert_eq!(
            slot_of(&command(&["XREAD", "COUNT", "1", "STREAMS", "foo", "0"])),
            foo
        );
        assert_eq!(slot_of(&command(&["PUBLISH", "channel", "text"])), None);
    }
}
