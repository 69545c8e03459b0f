//! Who is in rotation beyond what the balancer itself sees of failures, and who takes part in a choice.

use super::choosing::Question;
use super::random::mix;
use super::server::Server;
use super::standing::ServerStanding;
use super::subset::Subset;
use super::{Balancer, Loads};

impl Balancer {
    /// A server that comes back takes its whole share only after so many milliseconds; 0 for at once.
    #[must_use]
    pub fn with_slow_start(mut self, slow_start_ms: u64) -> Self {
        self.slow_start_ms = slow_start_ms;
        self
    }

    /// Below so many percent of a priority's servers in rotation all of them are asked, but those that an operator took out: the
    /// few left would only go down too. This is not so where other priorities can take what these cannot. With 0 it is so when
    /// none is left.
    #[must_use]
    pub fn with_panic_threshold(mut self, percent: u32) -> Self {
        self.rule.panic_percent = percent;
        self
    }

    /// Says how others see a server; one that comes back by that starts slowly.
    pub fn set_standing(&mut self, server: usize, standing: ServerStanding, now_ms: u64) {
        self.change(server, |known| {
            let was_out = known.standing.is_down || known.standing.is_closed;
            known.standing = standing;
            if was_out && !standing.is_down && !standing.is_closed {
                known.joined_ms = now_ms;
            }
        });
    }

    /// A server is new among others that serve already: it starts slowly.
    pub fn joins(&mut self, server: usize, now_ms: u64) {
        self.change(server, |server| server.joined_ms = now_ms.max(1));
    }

    /// A server is the one that another balancer knows already: what is known of it goes on here.
    pub fn take_over(&mut self, server: usize, other: &Self, known: usize) {
        let Some(known) = other.servers.get(known) else {
            return;
        };
        self.change(server, |server| {
            server.health = known.health.clone();
            server.latency = known.latency;
            server.standing = known.standing;
            server.joined_ms = known.joined_ms;
        });
        // without it a server that is new would be expected to take no time
        self.group = other.group;
    }

    /// Changes a server, and counts anew how many take less than their share.
    fn change(&mut self, server: usize, change: impl FnOnce(&mut Server)) {
        let slow_start_ms = self.slow_start_ms;
        if let Some(server) = self.servers.get_mut(server) {
            self.uneven -= usize::from(server.is_uneven(slow_start_ms));
            change(server);
            self.uneven += usize::from(server.is_uneven(slow_start_ms));
            self.changes += 1;
        }
    }

    /// Whether the server that has a client's session may go on with it, as one of the subset that the request wants; it then
    /// gets this attempt. It need not be in rotation if none is, and one that is being drained may keep what it has.
    pub fn resumes(
        &mut self,
        server: usize,
        subset: Option<&Subset>,
        now_ms: u64,
        loads: &dyn Loads,
    ) -> bool {
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
        if !self.may_resume(server, subset, is_well, now_ms) {
            return false;
        }
        self.changes += u64::from(self.servers[server].health.is_tainted());
        self.servers[server].health.picked(&spec, now_ms);
        true
    }

    /// Whether a server is one of those that a request may go to, and is well, or none is.
    fn may_resume(&mut self, server: usize, subset: Option<&Subset>, is_well: bool, now_ms: u64) -> bool {
        let places = self.places(subset);
        let is_up = |at: &usize| self.servers[*at].is_up(now_ms);
        for place in places {
            let division = &mut self.divisions[place];
            division.refresh(&self.servers, self.rule, self.changes, now_ms);
            if let Some(group) = division.group_of(server) {
                let mut members = division.groups.iter().flat_map(|group| &group.members);
                return is_well || group.portion.panics || !members.any(is_up);
            }
        }
        false
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
