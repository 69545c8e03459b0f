//! Who is in rotation beyond what the balancer itself sees of failures, and who takes part in a choice.

use super::random::mix;
use super::standing::ServerStanding;
use super::{Balancer, Loads, Question};

/// How long it is taken to be so that few or enough servers are in rotation, in milliseconds.
const PANIC_CHECK_MS: u64 = 50;

impl Balancer {
    /// A server that comes back takes its whole share only after so many milliseconds; 0 for at once.
    #[must_use]
    pub fn with_slow_start(mut self, slow_start_ms: u64) -> Self {
        self.slow_start_ms = slow_start_ms;
        self
    }

    /// Below so many percent of servers in rotation (backups aside) all are asked, but those that an operator took out: the few
    /// left would only go down too. With 0 this is so when none is left.
    #[must_use]
    pub fn with_panic_threshold(mut self, percent: u32) -> Self {
        self.panic_percent = percent;
        self
    }

    /// Says how others see a server; one that comes back by that starts slowly.
    pub fn set_standing(&mut self, server: usize, standing: ServerStanding, now_ms: u64) {
        let Some(known) = self.servers.get_mut(server) else {
            return;
        };
        let was_out = known.standing.is_down || known.standing.is_closed;
        known.standing = standing;
        if was_out && !standing.is_down && !standing.is_closed {
            known.joined_ms = now_ms;
        }
        self.panic.set((false, 0));
        self.is_uneven = self.servers.iter().any(|server| {
            server.standing.share_percent < 100
                || self.slow_start_ms > 0 && server.joined_ms.max(server.standing.ejected_until_ms) > 0
        });
    }

    /// A server is new among others that serve already: it starts slowly.
    pub fn joins(&mut self, server: usize, now_ms: u64) {
        if let Some(server) = self.servers.get_mut(server) {
            server.joined_ms = now_ms.max(1);
            self.is_uneven |= self.slow_start_ms > 0;
        }
    }

    /// A server is the one that another balancer knows already: what is known of it goes on here.
    pub fn take_over(&mut self, server: usize, other: &Self, known: usize) {
        let (Some(server), Some(known)) = (self.servers.get_mut(server), other.servers.get(known)) else {
            return;
        };
        server.health = known.health.clone();
        server.latency = known.latency;
        server.standing = known.standing;
        server.joined_ms = known.joined_ms;
        // without it a server that is new would be expected to take no time
        self.group = other.group;
        self.is_uneven |= other.is_uneven;
    }

    /// Whether so few servers are in rotation that all are asked.
    #[must_use]
    pub fn panics(&self, now_ms: u64) -> bool {
        if self.panic_percent == 0 {
            return false;
        }
        let (panics, until_ms) = self.panic.get();
        if now_ms < until_ms {
            return panics;
        }
        let open = self
            .servers
            .iter()
            .filter(|server| !server.spec.backup && !server.standing.is_closed);
        let (up, all) = open.fold((0, 0), |(up, all), server| {
            (up + usize::from(server.is_up(now_ms)), all + 1)
        });
        let panics = up * 100 < all * self.panic_percent as usize;
        self.panic.set((panics, now_ms + PANIC_CHECK_MS));
        panics
    }

    /// Whether the server that has a client's session may go on with it; it then gets this attempt. It need not be in rotation
    /// if none is, and one that is being drained may keep what it has.
    pub fn resumes(&mut self, server: usize, now_ms: u64, loads: &dyn Loads) -> bool {
        let Some(own) = self.servers.get(server) else {
            return false;
        };
        let (standing, spec) = (own.standing, own.spec);
        let has_room = spec.max_connections == 0 || loads.of(server) < spec.max_connections;
        if spec.weight == 0 || standing.is_closed && !standing.keeps_sessions || !has_room {
            return false;
        }
        let is_well =
            !standing.is_down && now_ms >= standing.ejected_until_ms && own.health.is_up(&spec, now_ms);
        let none_is_up = || !self.servers.iter().any(|server| server.is_up(now_ms));
        if !is_well && !self.panics(now_ms) && !none_is_up() {
            return false;
        }
        self.servers[server].health.picked(&spec, now_ms);
        true
    }

    /// Whether an operator has taken a server out, so that no session begins on it and none is prolonged.
    #[must_use]
    pub fn is_closed(&self, server: usize) -> bool {
        self.servers
            .get(server)
            .is_some_and(|server| server.standing.is_closed)
    }

    /// Whether a server that does not take its whole share takes part in this choice.
    pub(super) fn takes_part(&self, at: usize, question: &Question<'_>) -> bool {
        let Some(chance) = question.chance else {
            return true;
        };
        let server = &self.servers[at];
        let share = server
            .standing
            .share(server.joined_ms, self.slow_start_ms, question.now_ms);
        share >= 100 || mix(chance ^ at as u64) % 100 < share
    }
}

#[cfg(test)]
#[path = "../tests/standing.rs"]
mod tests;
