//! A ring of points: a key goes to the server of the next point.

use super::random::mix;

/// Points of a server of mean weight, as ketama has; shares then deviate by about 1/sqrt(160), 8 %.
const POINTS: u64 = 160;

/// See the module. Ten bytes a point or so: 7 MiB for 4,096 servers.
#[derive(Debug)]
pub(super) struct Ring {
    /// Places of points and positions of their servers, in order.
    points: Vec<(u32, u16)>,
    /// For each of as many equal parts as a power of two, the first point in it or behind it.
    starts: Vec<u32>,
    /// The part is what is left of a place by this shift.
    shift: u32,
}

impl Ring {
    /// Of up to 4,096 servers given by the hash of their name and their weight, 1 at least.
    pub(super) fn new(servers: &[(u64, u32)]) -> Self {
        let total: u64 = servers.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut points = Vec::new();
        for (position, (name, weight)) in (0..).zip(servers) {
            let own = (POINTS * servers.len() as u64 * u64::from(*weight)).div_ceil(total.max(1));
            // SplitMix64 from a seed of its own
            let seed = mix(!name);
            let numbers = (0..own).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            points.extend(numbers.map(|number| (place(mix(seed.wrapping_add(number))), position)));
        }
        points.sort_unstable();
        let bits = points.len().max(2).ilog2();
        let shift = u32::BITS - bits;
        let mut starts = Vec::with_capacity(1 << bits);
        let mut next = 0;
        for part in 0..1_u32 << bits {
            while points
                .get(next as usize)
                .is_some_and(|point: &(u32, u16)| point.0 >> shift < part)
            {
                next += 1;
            }
            starts.push(next);
        }
        Self {
            points,
            starts,
            shift,
        }
    }

    /// The positions of servers in the order that a key prefers them, each once as far as this is cheap to know.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let wanted = place(hash);
        // a part has about one point: two looks instead of a search
        let start = self.starts[(wanted >> self.shift) as usize] as usize;
        let passed = self.points[start..]
            .iter()
            .take_while(|(place, _)| *place < wanted);
        let first = start + passed.count();
        let (before, after) = self.points.split_at(first);
        let in_order = after.iter().chain(before);
        let mut last = None;
        in_order
            .map(|(_, position)| *position)
            .filter(move |position| last.replace(*position) != Some(*position))
            .map(usize::from)
    }
}

fn place(hash: u64) -> u32 {
    u32::try_from(hash >> 32).expect("half of 64 bits")
}
