//! Smooth weighted round robin, nginx's algorithm.
//!
//! At each choice every server gains its weight; the richest is chosen and pays the sum of all. With weights 5, 1, 1 that
//! gives a a b a c a a, not five in a row. See nginx commit 52327e0627f4 ("Upstream: smooth weighted round-robin").

use super::server::Server;

/// What the servers of a group have gained.
pub(super) struct Credits<'g> {
    /// Indices of servers, in order.
    pub(super) members: &'g [usize],
    /// Of each of them.
    pub(super) credits: &'g mut [i64],
}

impl Credits<'_> {
    /// Of a server of the group.
    #[inline]
    fn of(&mut self, server: usize) -> &mut i64 {
        // where the group has all servers, each is at its own index
        let position = if self.members.get(server) == Some(&server) {
            server
        } else {
            let found = self.members.binary_search(&server);
            found.expect("those that may be chosen are of the group")
        };
        &mut self.credits[position]
    }
}

pub(super) fn choose(servers: &mut [Server], credits: &mut Credits<'_>, eligible: &[usize]) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, i64)> = None;
    for &at in eligible {
        let server = &mut servers[at];
        let credit = credits.of(at);
        *credit += server.effective_weight;
        total += server.effective_weight;
        // A failure lowers the effective weight; it comes back by one at each choice.
        if server.effective_weight < i64::from(server.spec.weight) {
            server.effective_weight += 1;
        }
        if best.is_none_or(|(_, most)| *credit > most) {
            best = Some((at, *credit));
        }
    }
    let (best, _) = best?;
    *credits.of(best) -= total;
    Some(best)
}
