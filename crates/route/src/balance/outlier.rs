//! Who is ejected: servers that fail, or that are much slower than the others.
//!
//! How it works: failures in a row count at once. The share of failures and the mean time are looked at when an interval is
//! over and a server has had enough requests in it; times are compared with the median of the group's. What was found is told
//! to the caller, who asks [`Outliers::may_eject`] before acting on it: the most that may be ejected is tested with the one
//! that would be, so that a tenth of two servers is none (Envoy tests before, and ejects one).

/// When a server is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierSpec {
    /// Failures in a row; 0 for any number.
    pub consecutive: u32,
    /// The share of failures within an interval, in percent; 0 for any.
    pub error_percent: u32,
    /// The mean time within an interval, in percent of the median of the group's; 0 for any.
    pub latency_percent: u32,
    /// The interval.
    pub interval_ms: u64,
    /// Requests within an interval below which a share or a mean says nothing.
    pub min_requests: u32,
    /// The first ejection; each further one is longer by as much.
    pub ejection_ms: u64,
    /// The longest ejection.
    pub max_ejection_ms: u64,
    /// The most servers that may be ejected at a time, in percent.
    pub max_ejected_percent: u32,
}

/// What one worker saw of the servers of an upstream.
#[derive(Debug)]
pub struct Outliers {
    spec: OutlierSpec,
    began_ms: u64,
    servers: Vec<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    in_a_row: u32,
    good: u32,
    bad: u32,
    sum_us: u64,
}

impl Outliers {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(spec: OutlierSpec, servers: usize) -> Self {
        Self {
            spec,
            began_ms: 0,
            servers: vec![Seen::default(); servers],
        }
    }

    /// An attempt went well after so many microseconds. Gives the servers that are outliers now.
    pub fn succeeded(&mut self, server: usize, now_ms: u64, took_us: u64) -> Vec<usize> {
        let seen = &mut self.servers[server];
        seen.in_a_row = 0;
        seen.good += 1;
        seen.sum_us += took_us;
        self.look(now_ms)
    }

    /// An attempt failed. Gives the servers that are outliers now.
    pub fn failed(&mut self, server: usize, now_ms: u64) -> Vec<usize> {
        let seen = &mut self.servers[server];
        seen.in_a_row += 1;
        seen.bad += 1;
        let is_out = self.spec.consecutive > 0 && seen.in_a_row >= self.spec.consecutive;
        if is_out {
            seen.in_a_row = 0;
        }
        let mut found = self.look(now_ms);
        if is_out && !found.contains(&server) {
            found.push(server);
        }
        found
    }

    /// Whether one more may be ejected, with so many ejected of all.
    #[must_use]
    pub fn may_eject(&self, ejected: usize, servers: usize) -> bool {
        (ejected + 1) * 100 <= servers * self.spec.max_ejected_percent as usize
    }

    /// How long a server is ejected that was ejected so often before.
    #[must_use]
    pub fn ejection_ms(&self, before: u64) -> u64 {
        let grown = self.spec.ejection_ms.saturating_mul(before.saturating_add(1));
        grown.min(self.spec.max_ejection_ms)
    }

    /// How often a server counts as ejected that was well for so long since its last ejection: each first ejection's time
    /// makes one forgotten.
    #[must_use]
    pub fn remembered(&self, before: u64, well_ms: u64) -> u64 {
        before.saturating_sub(well_ms / self.spec.ejection_ms.max(1))
    }

    /// The outliers of an interval that is over.
    fn look(&mut self, now_ms: u64) -> Vec<usize> {
        if now_ms < self.began_ms + self.spec.interval_ms {
            return Vec::new();
        }
        self.began_ms = now_ms;
        let spec = self.spec;
        let is_telling = |seen: &Seen| seen.good + seen.bad >= spec.min_requests.max(1);
        let bound_us = self.latency_bound(&is_telling);
        let found = self.servers.iter().enumerate().filter(|(_, seen)| {
            let all = u64::from(seen.good) + u64::from(seen.bad);
            let is_failing =
                spec.error_percent > 0 && u64::from(seen.bad) * 100 >= all * u64::from(spec.error_percent);
            let is_slow = bound_us.is_some_and(|bound_us| seen.mean_us().is_some_and(|mean| mean > bound_us));
            is_telling(seen) && (is_failing || is_slow)
        });
        let found = found.map(|(server, _)| server).collect();
        for seen in &mut self.servers {
            *seen = Seen {
                in_a_row: seen.in_a_row,
                ..Seen::default()
            };
        }
        found
    }

    /// The mean time above which a server is slow, where three or more can be compared.
    fn latency_bound(&self, is_telling: &dyn Fn(&Seen) -> bool) -> Option<u64> {
        let factor = u64::from(self.spec.latency_percent);
        let telling = self.servers.iter().filter(|seen| factor > 0 && is_telling(seen));
        let mut means: Vec<u64> = telling.filter_map(Seen::mean_us).collect();
        if means.len() < 3 {
            return None;
        }
        means.sort_unstable();
        Some(means[means.len() / 2].saturating_mul(factor) / 100)
    }
}

impl Seen {
    fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(u64::from(self.good))
    }
}

#[cfg(test)]
#[path = "../tests/outlier.rs"]
mod tests;
