//! Passive health: `max_fails` and `fail_timeout` with nginx's meaning.
//!
//! Failures add up until a server that has had none for `fail_timeout` is picked and succeeds. At `max_fails` it leaves
//! the rotation for `fail_timeout` after its last failure; then one request may try it, and while that runs (for at most
//! `fail_timeout`) no other. Success brings it back at once, failure keeps it out for another `fail_timeout`.

use super::spec::ServerSpec;

#[derive(Debug, Default, Clone)]
pub(super) struct Health {
    fails: u32,
    /// The last failure, or the pick that began a trial after it.
    checked_ms: u64,
    is_on_trial: bool,
}

impl Health {
    pub(super) fn is_up(&self, spec: &ServerSpec, now_ms: u64) -> bool {
        spec.max_fails == 0 || self.fails < spec.max_fails || self.is_quiet(spec, now_ms)
    }

    /// Whether failures are held against it, so that an attempt may change whether it is in rotation.
    pub(super) fn is_tainted(&self) -> bool {
        self.fails > 0
    }

    /// When it comes back into rotation, if it is out of it.
    pub(super) fn returns_ms(&self, spec: &ServerSpec, now_ms: u64) -> Option<u64> {
        (!self.is_up(spec, now_ms)).then(|| self.checked_ms + spec.fail_timeout_ms + 1)
    }

    /// The server gets an attempt: a trial if failures are held against it and their time is over, or if it is out of
    /// rotation and gets the attempt only because all others are out too.
    pub(super) fn picked(&mut self, spec: &ServerSpec, now_ms: u64) {
        if self.fails == 0 {
            return;
        }
        if self.is_quiet(spec, now_ms) {
            self.checked_ms = now_ms;
            self.is_on_trial = true;
        } else if !self.is_up(spec, now_ms) {
            self.is_on_trial = true;
        }
    }

    pub(super) fn succeeded(&mut self) {
        if self.is_on_trial {
            self.fails = 0;
            self.is_on_trial = false;
        }
    }

    /// True if this failure took the server out of rotation; a failed trial only keeps it out.
    pub(super) fn failed(&mut self, spec: &ServerSpec, now_ms: u64) -> bool {
        self.fails = self.fails.saturating_add(1);
        self.checked_ms = now_ms;
        self.is_on_trial = false;
        self.fails == spec.max_fails
    }

    fn is_quiet(&self, spec: &ServerSpec, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.checked_ms) > spec.fail_timeout_ms
    }
}
