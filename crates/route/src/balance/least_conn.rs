//! The fewest connections for the weight; smooth weighted round robin among equals.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::loads::Loads;
use super::server::Server;
use super::weighted::{self, Credits};

pub(super) fn choose(
    servers: &mut [Server],
    credits: &mut Credits<'_>,
    eligible: &[usize],
    loads: &dyn Loads,
) -> Option<usize> {
    let mut least = SmallVec::<[usize; 16]>::new();
    // Connections and weight of the servers in `least`.
    let mut load = (0, 1);
    for &at in eligible {
        let candidate = (u64::from(loads.of(at)), u64::from(servers[at].spec.weight));
        // a/b < c/d without division; both products fit, being of 32-bit numbers.
        let order = (candidate.0 * load.1).cmp(&(load.0 * candidate.1));
        if least.is_empty() || order == Ordering::Less {
            least.clear();
            load = candidate;
            least.push(at);
        } else if order == Ordering::Equal {
            least.push(at);
        }
    }
    match least[..] {
        [only] => Some(only),
        _ => weighted::choose(servers, credits, &least),
    }
}
