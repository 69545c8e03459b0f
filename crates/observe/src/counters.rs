//! The workers' named counters as families.

use headgate_shared::metrics::NAMES;
use headgate_shared::series::{Family, Merge};
use headgate_shared::Zone;

use crate::merged::Merged;

/// How the names of numbers end that say what is, not what has been.
const PRESENT: &str = "_active";

/// Those that series with labels tell better.
const TOLD_ELSEWHERE: &[&str] = &[
    "requests",
    "responses_1xx",
    "responses_2xx",
    "responses_3xx",
    "responses_4xx",
    "responses_5xx",
    "request_bytes",
    "response_bytes",
    "hook_failures",
];

/// The counters that this program knows, in the order of their cells.
pub fn named_counters() -> Vec<String> {
    NAMES.iter().map(ToString::to_string).collect()
}

/// Adds the sums of a zone whose cells have these names.
pub(crate) fn add(merged: &mut Merged, zone: &Zone, names: &[String]) {
    for (cell, name) in (0..zone.cells()).zip(names) {
        if TOLD_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let number = zone.sum(cell);
        let (family, labels) = family_of(name);
        merged.put(&family, labels, vec![number]);
    }
}

/// What a counter is called, and the values of its labels.
fn family_of(name: &str) -> (Family, Vec<String>) {
    for (prefix, family) in [
        (
            "limit_",
            Family::counter(
                "headgate_limits_hit_total",
                "How often a limit was hit, by its name.",
                &["limit"],
            ),
        ),
        (
            "timeout_",
            Family::counter(
                "headgate_timeouts_total",
                "How often a wait was too long, by its name.",
                &["timeout"],
            ),
        ),
    ] {
        if let Some(limit) = name.strip_prefix(prefix) {
            return (family, vec![limit.to_owned()]);
        }
    }
    let words = name.replace('_', " ");
    if let Some(present) = name.strip_suffix(PRESENT) {
        let words = present.replace('_', " ");
        let family = Family::gauge(
            &format!("headgate_{name}"),
            &format!("Of {words}, how many there are now."),
            &[],
            Merge::Sum,
        );
        return (family, Vec::new());
    }
    let family = Family::counter(
        &format!("headgate_{name}_total"),
        &format!("Count of {words}."),
        &[],
    );
    (family, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_one_family_of_its_kind() {
        let zone = Zone::create(2, headgate_shared::metrics::ZONE_CELLS).expect("memory");
        for cell in 0..u32::try_from(NAMES.len()).expect("few") {
            zone.add(1, cell, 1);
        }
        let mut merged = Merged::default();
        add(&mut merged, &zone, &named_counters());
        let shown: usize = merged.families.values().map(|family| family.series.len()).sum();
        assert_eq!(shown, NAMES.len() - TOLD_ELSEWHERE.len());
        assert!(TOLD_ELSEWHERE.iter().all(|name| NAMES.contains(name)));
        assert!(merged.families["headgate_timeouts_total"]
            .series
            .contains_key(&vec!["queue".to_owned()]));
        assert!(merged.families.contains_key("headgate_connections_active"));
        assert!(merged.families.contains_key("headgate_retries_total"));
    }
}
