//! What all processes know of upstreams' servers: who may be asked, and who is ejected.
//!
//! # How it works
//! A table of open addressing in the part of the zone that is no worker's: an entry belongs to a server by the hash of its name
//! (`upstream/address`), and is made when something is first said of it. An entry of which nothing is said any more may become
//! another server's. Whoever changes one raises a number, so that workers look at entries only after something changed.
//! Times are milliseconds of the system's monotonic clock, which all processes share.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use rustix::time::{clock_gettime, ClockId};

use crate::Zone;

/// Servers of which something can be said at a time.
const ENTRIES: usize = 16_384;

/// Entries that are looked at for a server.
const MAX_PROBES: usize = 64;

/// Words of an entry: two cache lines.
const ENTRY_WORDS: usize = 16;

/// Words of the whole table.
pub(crate) const TABLE_WORDS: usize = ENTRIES * ENTRY_WORDS;

/// For how long a circuit is known that waits for its first probe (one hour).
const CIRCUIT_KEPT_MS: u64 = 3_600_000;

/// Where an entry's name begins, and its length in bytes.
const NAME_WORD: usize = 8;
const NAME_BYTES: usize = (ENTRY_WORDS - NAME_WORD) * 8;

/// A word of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerWord {
    /// When its ejection ends; 0 if it was not ejected.
    EjectedUntil = 2,
    /// How often it was ejected, not long apart.
    Ejections = 3,
    /// Of a circuit: how often it has changed, and in the lowest byte how many probes have succeeded since.
    Progress = 4,
    /// Of a circuit: when each of its probes began; 0 for a free place.
    Probe0 = 5,
    /// See there.
    Probe1 = 6,
    /// See there.
    Probe2 = 7,
}

const TAG: usize = 0;
const SAID: usize = 1;

/// What active checks say of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CheckState {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It is well.
    Up,
    /// It is not.
    Down,
}

/// What an operator says of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AdminState {
    /// It may be asked.
    #[default]
    Ready,
    /// It gets no new clients, only those that stick to it.
    Drain,
    /// It gets nothing.
    Maintenance,
}

/// What is said of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerState {
    /// By active checks.
    pub check: CheckState,
    /// By an operator.
    pub admin: AdminState,
    /// The part of its weight that counts, in percent, as its own agent says.
    pub weight_percent: u8,
    /// It is no server, but the circuit of an upstream, which is not closed.
    pub is_circuit: bool,
}

impl Default for ServerState {
    fn default() -> Self {
        Self {
            check: CheckState::Unknown,
            admin: AdminState::Ready,
            weight_percent: 100,
            is_circuit: false,
        }
    }
}

impl ServerState {
    fn bits(self) -> u64 {
        let unset = u64::from(100 - self.weight_percent.min(100));
        self.check as u64 | (self.admin as u64) << 2 | unset << 8 | u64::from(self.is_circuit) << 16
    }

    fn of(bits: u64) -> Self {
        Self {
            check: match bits & 3 {
                1 => CheckState::Up,
                2 => CheckState::Down,
                _ => CheckState::Unknown,
            },
            admin: match bits >> 2 & 3 {
                1 => AdminState::Drain,
                2 => AdminState::Maintenance,
                _ => AdminState::Ready,
            },
            weight_percent: 100 - u8::try_from(bits >> 8 & 0xff).unwrap_or(0).min(100),
            is_circuit: bits >> 16 & 1 == 1,
        }
    }
}

/// A server's entry in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerEntry(usize);

/// A server of which something is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownServer {
    /// `upstream/address`, cut to 64 bytes.
    pub name: String,
    /// What is said of it.
    pub state: ServerState,
    /// For how many milliseconds it is ejected yet.
    pub ejected_ms: u64,
}

/// Milliseconds of the clock that all processes share.
#[must_use]
pub fn shared_now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1000 + part(now.tv_nsec) / 1_000_000
}

impl Zone {
    /// A number that changes whenever anything is said of any server.
    #[inline]
    #[must_use]
    pub fn server_changes(&self) -> u64 {
        self.change_word().load(Acquire)
    }

    /// Lets all workers look at what is said of servers.
    pub fn announce_server_change(&self) {
        self.change_word().fetch_add(1, Release);
    }

    /// The entry of a server of which something was said.
    #[must_use]
    pub fn find_server(&self, name: &str) -> Option<ServerEntry> {
        let wanted = tag(name);
        let held = |entry: ServerEntry| self.server(entry, TAG).load(Acquire);
        // entries are taken in this order, and never given back: behind a free one there is none
        let mut taken = probes(wanted).map(|entry| (entry, held(entry)));
        let found = taken.find(|(_, held)| *held == wanted || *held == 0)?;
        (found.1 == wanted).then_some(found.0)
    }

    /// The entry of a server, made if there is none; none if the table is full of others.
    pub fn claim_server(&self, name: &str) -> Option<ServerEntry> {
        if let Some(entry) = self.find_server(name) {
            return Some(entry);
        }
        let tag = tag(name);
        let now_ms = shared_now_ms();
        let claimed = probes(tag).find(|entry| {
            let held = self.server(*entry, TAG).load(Acquire);
            (held == 0 || self.is_blank(*entry, now_ms))
                && self
                    .server(*entry, TAG)
                    .compare_exchange(held, tag, AcqRel, Acquire)
                    .is_ok()
        })?;
        self.server(claimed, SAID)
            .store(ServerState::default().bits(), Relaxed);
        for word in ServerWord::EjectedUntil as usize..NAME_WORD {
            self.server(claimed, word).store(0, Relaxed);
        }
        for (word, bytes) in (NAME_WORD..).zip(padded(name).chunks_exact(8)) {
            let bytes = bytes.try_into().expect("they are eight");
            self.server(claimed, word)
                .store(u64::from_le_bytes(bytes), Relaxed);
        }
        Some(claimed)
    }

    /// What is said of a server.
    #[must_use]
    pub fn server_state(&self, entry: ServerEntry) -> ServerState {
        ServerState::of(self.server(entry, SAID).load(Acquire))
    }

    /// Changes what is said of a server, and lets all workers know.
    pub fn change_server_state(&self, entry: ServerEntry, change: impl Fn(&mut ServerState)) {
        let word = self.server(entry, SAID);
        let mut bits = word.load(Acquire);
        loop {
            let mut state = ServerState::of(bits);
            change(&mut state);
            match word.compare_exchange(bits, state.bits(), AcqRel, Acquire) {
                Ok(_) => break,
                Err(other) => bits = other,
            }
        }
        self.announce_server_change();
    }

    /// A number kept of a server.
    #[must_use]
    pub fn server_word(&self, entry: ServerEntry, word: ServerWord) -> &AtomicU64 {
        self.server(entry, word as usize)
    }

    /// All servers of which something is said that is not as by default.
    #[must_use]
    pub fn known_servers(&self) -> Vec<KnownServer> {
        if self.server_changes() == 0 {
            return Vec::new();
        }
        let now_ms = shared_now_ms();
        let all = (0..ENTRIES).map(ServerEntry);
        all.filter(|entry| self.server(*entry, TAG).load(Acquire) != 0 && !self.is_blank(*entry, now_ms))
            .map(|entry| self.known_server(entry, now_ms))
            .collect()
    }

    fn known_server(&self, entry: ServerEntry, now_ms: u64) -> KnownServer {
        let words = (NAME_WORD..ENTRY_WORDS).map(|word| self.server(entry, word).load(Relaxed));
        let bytes: Vec<u8> = words
            .flat_map(u64::to_le_bytes)
            .take_while(|byte| *byte != 0)
            .collect();
        let until_ms = self.server_word(entry, ServerWord::EjectedUntil).load(Relaxed);
        KnownServer {
            name: String::from_utf8_lossy(&bytes).into_owned(),
            state: self.server_state(entry),
            ejected_ms: until_ms.saturating_sub(now_ms),
        }
    }

    /// Whether nothing is said of it that matters.
    fn is_blank(&self, entry: ServerEntry, now_ms: u64) -> bool {
        let state = self.server_state(entry);
        let said = ServerState {
            is_circuit: false,
            ..state
        };
        // a circuit that nobody has tried for long belongs to an upstream that is gone, or not used
        let kept_ms = if state.is_circuit { CIRCUIT_KEPT_MS } else { 0 };
        let until_ms = self.server_word(entry, ServerWord::EjectedUntil).load(Relaxed);
        said == ServerState::default() && until_ms.saturating_add(kept_ms) <= now_ms
    }

    fn server(&self, entry: ServerEntry, word: usize) -> &AtomicU64 {
        self.common_word(entry.0 * ENTRY_WORDS + word)
    }
}

/// The entries where a server may be, in order.
fn probes(tag: u64) -> impl Iterator<Item = ServerEntry> {
    let first = usize::try_from(tag % ENTRIES as u64).unwrap_or(0);
    (0..MAX_PROBES).map(move |probe| ServerEntry((first + probe) % ENTRIES))
}

/// FNV-1a, 64 bits; never 0, which means that an entry is nobody's.
fn tag(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}

fn padded(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    let length = name.len().min(NAME_BYTES);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::create(2, 4).expect("a memory file can be made")
    }

    #[test]
    fn test_what_is_said_of_a_server_is_found_by_its_name() {
        let zone = zone();
        assert_eq!(zone.find_server("api/10.0.0.1:80"), None);
        let entry = zone.claim_server("api/10.0.0.1:80").expect("there is room");
        assert_eq!(zone.server_state(entry), ServerState::default());
        let before = zone.server_changes();
        zone.change_server_state(entry, |state| {
            state.admin = AdminState::Drain;
            state.weight_percent = 30;
        });
        zone.change_server_state(entry, |state| state.check = CheckState::Down);
        assert_eq!(zone.server_changes(), before + 2);
        assert_eq!(zone.find_server("api/10.0.0.1:80"), Some(entry));
        let known = zone.known_servers();
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].name, "api/10.0.0.1:80");
        let expected = ServerState {
            check: CheckState::Down,
            admin: AdminState::Drain,
            weight_percent: 30,
            is_circuit: false,
        };
        assert_eq!(known[0].state, expected);
    }

    #[test]
    fn test_counters_of_workers_and_servers_do_not_touch() {
        let zone = zone();
        let entry = zone.claim_server("a/b").expect("there is room");
        zone.change_server_state(entry, |state| state.check = CheckState::Down);
        zone.clear(0);
        zone.clear(1);
        assert_eq!(zone.server_state(entry).check, CheckState::Down);
        assert_eq!((0..4).map(|cell| zone.sum(cell)).sum::<u64>(), 0);
    }

    #[test]
    fn test_entries_of_which_nothing_is_said_become_others() {
        let zone = zone();
        for number in 0..3 * ENTRIES {
            let entry = zone.claim_server(&format!("pods/{number}"));
            assert!(entry.is_some(), "{number}");
        }
        assert!(zone.known_servers().is_empty());
    }

    #[test]
    fn test_a_state_is_kept_while_others_come_and_go() {
        let zone = zone();
        let kept = zone.claim_server("api/1").expect("there is room");
        zone.change_server_state(kept, |state| state.admin = AdminState::Maintenance);
        for number in 0..2 * ENTRIES {
            zone.claim_server(&format!("pods/{number}"));
        }
        assert_eq!(zone.find_server("api/1"), Some(kept));
        assert_eq!(zone.server_state(kept).admin, AdminState::Maintenance);
    }
}
