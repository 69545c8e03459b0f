//! What requests are counted by: methods, status codes and durations, and the families of routes' series.

use std::borrow::Cow;

use headgate_shared::series::{Family, Scale, Series};

/// The methods that are told apart (RFC 9110 section 9, RFC 5789).
pub(super) const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
pub(super) const CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
/// The status codes that are told apart: those that IANA lists, and 499.
pub(super) const CODES: &[&str] = &[
    "100", "101", "103", "200", "201", "202", "203", "204", "205", "206", "207", "208", "226", "300", "301",
    "302", "303", "304", "305", "307", "308", "400", "401", "402", "403", "404", "405", "406", "407", "408",
    "409", "410", "411", "412", "413", "414", "415", "416", "417", "421", "422", "423", "424", "425", "426",
    "428", "429", "431", "451", "499", "500", "501", "502", "503", "504", "505", "506", "507", "508", "510",
    "511", "other",
];
/// The buckets of durations, in microseconds: seven or more a decade, so that a quantile is right within a third.
const BOUNDS_US: [u64; 37] = [
    250, 500, 800, 1_200, 1_600, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 20_000, 30_000, 40_000,
    60_000, 80_000, 120_000, 160_000, 200_000, 300_000, 400_000, 600_000, 800_000, 1_200_000, 1_600_000,
    2_000_000, 3_000_000, 4_000_000, 6_000_000, 8_000_000, 12_000_000, 16_000_000, 20_000_000, 30_000_000,
    40_000_000, 60_000_000,
];
/// The first bucket that a number of so many bits may be in.
const FIRST_BUCKET: [u8; 65] = first_buckets();

pub(super) const REQUESTS: &str = "headgate_requests_total";
pub(super) const SECONDS: &str = "headgate_request_duration_seconds";
pub(super) const RECEIVED: &str = "headgate_request_bytes_total";
pub(super) const SENT: &str = "headgate_response_bytes_total";

/// What the series of routes are of.
pub(super) struct RouteFamilies {
    pub(super) requests: Family,
    seconds: Family,
    pub(super) received: Family,
    pub(super) sent: Family,
}

impl RouteFamilies {
    /// That of the durations of a route, which may have buckets of its own.
    pub(super) fn seconds(&self, buckets: Option<&[u64]>) -> Cow<'_, Family> {
        buckets.map_or(Cow::Borrowed(&self.seconds), |buckets| {
            let bounds = bounds_of(buckets);
            let own = Family {
                bounds,
                ..self.seconds.clone()
            };
            Cow::Owned(own.with_own_buckets())
        })
    }
}

impl Default for RouteFamilies {
    fn default() -> Self {
        let seconds = "Time from a request's complete head to the last byte of its response.";
        let received = "Bytes of requests' bodies that were read from clients.";
        let sent = "Bytes of responses that were sent to clients, heads included.";
        Self {
            requests: requests_family(),
            seconds: durations(SECONDS, seconds, &["route"]),
            received: Family::counter(RECEIVED, received, &["route"]).declared(),
            sent: Family::counter(SENT, sent, &["route"]).declared(),
        }
    }
}

pub(super) fn requests_family() -> Family {
    let help = "Requests, by route, upstream, method and class of the response's status.";
    Family::counter(REQUESTS, help, &["route", "upstream"])
        .with_inner("method", METHODS)
        .with_inner("status", CLASSES)
        .declared()
}

pub(super) fn durations(name: &str, help: &str, labels: &[&str]) -> Family {
    let bounds = bounds_of(&BOUNDS_US);
    Family::histogram(name, help, labels, &bounds, Scale::Integer(1_000_000)).declared()
}

#[allow(clippy::cast_precision_loss, reason = "bounds are small")]
fn bounds_of(buckets_us: &[u64]) -> Vec<f64> {
    buckets_us.iter().map(|us| *us as f64 / 1e6).collect()
}

/// Counts a duration.
pub(super) fn observe(series: &Series, us: u64) {
    series.add(bucket_of(us), 1);
    series.add(BOUNDS_US.len() + 1, us);
}

/// The same in buckets with these bounds, in microseconds and in order.
pub(super) fn observe_in(series: &Series, bounds_us: &[u64], us: u64) {
    series.add(bounds_us.partition_point(|bound| *bound < us), 1);
    series.add(bounds_us.len() + 1, us);
}

/// The first bucket whose bound is not below it: by its bits to within three, then by looking.
fn bucket_of(us: u64) -> usize {
    let mut bucket = usize::from(FIRST_BUCKET[(u64::BITS - us.leading_zeros()) as usize]);
    while bucket < BOUNDS_US.len() && us > BOUNDS_US[bucket] {
        bucket += 1;
    }
    bucket
}

const fn first_buckets() -> [u8; 65] {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least = 1_u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && BOUNDS_US[bucket] < least {
            bucket += 1;
        }
        #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 256")]
        {
            first[bits] = bucket as u8;
        }
        bits += 1;
    }
    first
}

pub(super) fn method_cell(method: &[u8]) -> usize {
    match method {
        b"GET" => 0,
        b"HEAD" => 1,
        b"POST" => 2,
        b"PUT" => 3,
        b"PATCH" => 4,
        b"DELETE" => 5,
        b"OPTIONS" => 6,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_holds_it() {
        for us in (0..3_000)
            .chain(BOUNDS_US.iter().flat_map(|us| [us - 1, *us, us + 1]))
            .chain([u64::MAX])
        {
            assert_eq!(
                bucket_of(us),
                BOUNDS_US.iter().filter(|bound| **bound < us).count(),
                "{us}"
            );
        }
    }

    #[test]
    fn quantiles_of_constant_services_are_near() {
        for us in [5_000, 5_400, 1_001_000, 5_001_000_u64] {
            let bucket = bucket_of(us);
            let (lower, upper) = (BOUNDS_US[bucket - 1], BOUNDS_US[bucket]);
            let estimate = lower + (upper - lower) * 99 / 100;
            assert!(estimate * 100 <= us * 125, "{us}: {estimate}");
        }
    }

    #[test]
    fn methods_have_the_cells_of_their_names() {
        for (cell, method) in METHODS.iter().enumerate() {
            assert_eq!(method_cell(method.as_bytes()), cell);
        }
        assert_eq!(METHODS[method_cell(b"BREW")], "other");
    }
}
