//! Smooth weighted round robin, nginx's algorithm.
//!
//! At each choice every server gains its weight; the richest is chosen and pays the sum of all. With weights 5, 1, 1 that
//! gives a a b a c a a, not five in a row. See nginx commit 52327e0627f4 ("Upstream: smooth weighted round-robin").

use super::server::Server;

pub(super) fn choose(servers: &mut [Server], eligible: &[usize]) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for &at in eligible {
        let server = &mut servers[at];
        server.current_weight += server.effective_weight;
        total += server.effective_weight;
        // A failure lowers the effective weight; it comes back by one at each choice.
        if server.effective_weight < i64::from(server.spec.weight) {
            server.effective_weight += 1;
        }
        let gain = server.current_weight;
        if best.is_none_or(|best| gain > servers[best].current_weight) {
            best = Some(at);
        }
    }
    servers[best?].current_weight -= total;
    best
}
