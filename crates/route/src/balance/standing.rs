//! Whether a server may be asked, by what others say of it: checks, operators, ejections; and how much while it is new.

/// What is said of a server outside of the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStanding {
    /// Active checks fail: asked only if no other is in rotation.
    pub is_down: bool,
    /// An operator has taken it out: it is not chosen.
    pub is_closed: bool,
    /// If it is closed: the clients whose sessions it has may go on.
    pub keeps_sessions: bool,
    /// The part of its share that it takes, in percent.
    pub share_percent: u8,
    /// When its ejection ends; asked before only if no other is in rotation.
    pub ejected_until_ms: u64,
}

impl Default for ServerStanding {
    fn default() -> Self {
        Self {
            is_down: false,
            is_closed: false,
            keeps_sessions: false,
            share_percent: 100,
            ejected_until_ms: 0,
        }
    }
}

/// The least part of its share that a server takes while it starts slowly: enough to be seen.
const LEAST_SHARE: u64 = 10;

impl ServerStanding {
    /// Whether it is in rotation.
    pub(super) fn is_up(&self, now_ms: u64) -> bool {
        !self.is_down && !self.is_closed && now_ms >= self.ejected_until_ms
    }

    /// Its share in percent, if it joined then and takes so long to take all.
    pub(super) fn share(&self, joined_ms: u64, slow_start_ms: u64, now_ms: u64) -> u64 {
        // one that was never ejected, or joined at the very start, takes all
        let began_ms = joined_ms.max(self.ejected_until_ms);
        let full = u64::from(self.share_percent);
        if began_ms == 0 || slow_start_ms == 0 {
            return full;
        }
        let grown = now_ms.saturating_sub(began_ms).saturating_mul(100) / slow_start_ms;
        full * grown.clamp(LEAST_SHARE, 100) / 100
    }
}
