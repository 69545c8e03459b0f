//! Numbers as `StatsD` has them: what each counter has grown by, what each gauge is, and how many calls came to each bucket.
//!
//! # How it works
//! The sums at the last push are kept; a push sends the differences. A call of a histogram is sent with the upper bound of its
//! bucket, and calls of one bucket as one line with a sample rate, which every `StatsD` server takes for so many calls.

use std::fmt::Write;

use headgate_shared::series::{Family, Kind};

use crate::merged::{value, Merged, Merging};

/// What fits into a datagram on an Ethernet (`DogStatsD`'s own bound).
pub(crate) const MAX_DATAGRAM_BYTES: usize = 1_432;

/// How metrics are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Before each name.
    pub prefix: String,
    /// Labels are `DogStatsD`'s tags; else their values are parts of the name.
    pub tags: bool,
}

/// What happened between two moments, as datagrams.
pub(crate) fn datagrams(now: &Merged, before: &Merged, naming: &Naming) -> Vec<String> {
    let mut packed = Packed::default();
    for (name, merged) in &now.families {
        let known = before
            .families
            .get(name)
            .filter(|known| known.family == merged.family);
        for (labels, series) in &merged.series {
            let last = known.and_then(|known| known.series.get(labels));
            push_series(&mut packed, &merged.family, labels, (series, last), naming);
        }
    }
    packed
        .done
        .into_iter()
        .chain((!packed.open.is_empty()).then_some(packed.open))
        .collect()
}

/// Lines, as many in a datagram as fit.
#[derive(Default)]
struct Packed {
    done: Vec<String>,
    open: String,
}

impl Packed {
    fn push(&mut self, line: &str) {
        if !self.open.is_empty() {
            if self.open.len() + 1 + line.len() > MAX_DATAGRAM_BYTES {
                self.done.push(std::mem::take(&mut self.open));
            } else {
                self.open.push('\n');
            }
        }
        self.open.push_str(line);
    }
}

fn push_series(
    packed: &mut Packed,
    family: &Family,
    labels: &[String],
    (series, last): (&Merging, Option<&Merging>),
    naming: &Naming,
) {
    let outer: Vec<(&str, &str)> = family
        .labels
        .iter()
        .map(String::as_str)
        .zip(labels.iter().map(String::as_str))
        .collect();
    // one that has come back begins at 0
    let grown = |cell: usize| {
        let (now, before) = (series.cells[cell], last.map_or(0, |last| last.cells[cell]));
        let (now, before) = (value(family.scale, now), value(family.scale, before));
        if now < before {
            now
        } else {
            now - before
        }
    };
    if family.kind == Kind::Histogram {
        for bucket in 0..family.sum_cell() {
            let calls = series.cells[bucket];
            let before = last.map_or(0, |last| last.cells[bucket]);
            let calls = if calls < before { calls } else { calls - before };
            if calls > 0 {
                packed.push(&call_line(family, &outer, bucket, calls, naming));
            }
        }
        return;
    }
    for cell in 0..series.cells.len() {
        let named = with_inner(family, &outer, cell);
        let (name, tags) = naming.of(&family.name, &named);
        if family.kind == Kind::Counter {
            let number = grown(cell);
            if number > 0.0 {
                packed.push(&format!("{name}:{number}|c{tags}"));
            }
            continue;
        }
        let number = value(family.scale, series.cells[cell]);
        if series.cells[cell] == 0 && !family.inner.is_empty() {
            continue;
        }
        if number < 0.0 {
            // a sign in front would make it a difference
            packed.push(&format!("{name}:0|g{tags}"));
        }
        packed.push(&format!("{name}:{number}|g{tags}"));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn call_line(family: &Family, labels: &[(&str, &str)], bucket: usize, calls: u64, naming: &Naming) -> String {
    let bound = family.bounds.get(bucket).or(family.bounds.last());
    let bound = bound.copied().unwrap_or_default();
    let rate = if calls > 1 {
        format!("|@{}", 1.0 / calls as f64)
    } else {
        String::new()
    };
    let seconds = family.name.strip_suffix("_seconds");
    if naming.tags {
        let (name, tags) = naming.of(&family.name, labels);
        return format!("{name}:{bound}|h{rate}{tags}");
    }
    // a timer of StatsD is in milliseconds
    let (name, _) = naming.of(seconds.unwrap_or(&family.name), labels);
    let shown = if seconds.is_some() { bound * 1_000.0 } else { bound };
    format!("{name}:{shown}|ms{rate}")
}

fn with_inner<'a>(family: &'a Family, outer: &[(&'a str, &'a str)], cell: usize) -> Vec<(&'a str, &'a str)> {
    let (mut inner, mut rest) = (Vec::with_capacity(family.inner.len()), cell);
    for (name, values) in family.inner.iter().rev() {
        inner.push((name.as_str(), values[rest % values.len()].as_str()));
        rest /= values.len();
    }
    outer.iter().copied().chain(inner.into_iter().rev()).collect()
}

impl Naming {
    /// The name of a series, and what follows its value.
    fn of(&self, name: &str, labels: &[(&str, &str)]) -> (String, String) {
        let (mut whole, mut tags) = (format!("{}{name}", self.prefix), String::new());
        for (label, value) in labels {
            if self.tags {
                if value.is_empty() {
                    continue;
                }
                let between = if tags.is_empty() { "|#" } else { "," };
                let value: String = value.chars().map(tag_character).collect();
                let _ = write!(tags, "{between}{label}:{value}"); // a String takes all
            } else {
                let value = if value.is_empty() { "none" } else { value };
                whole.push('.');
                whole.extend(value.chars().map(name_character));
            }
        }
        (whole, tags)
    }
}

/// What ends a tag or a line is no part of one.
fn tag_character(one: char) -> char {
    if matches!(one, ',' | '|' | '#') || one.is_control() {
        '_'
    } else {
        one
    }
}

/// A name has dots between its parts only.
fn name_character(one: char) -> char {
    if one.is_ascii_alphanumeric() || one == '-' {
        one
    } else {
        '_'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_shared::series::{Merge, Scale};

    const TAGS: Naming = Naming {
        prefix: String::new(),
        tags: true,
    };

    fn lines(now: &Merged, before: &Merged, naming: &Naming) -> Vec<String> {
        let whole = datagrams(now, before, naming).join("\n");
        whole.lines().map(str::to_owned).collect()
    }

    fn with(family: &Family, label: &str, cells: &[u64]) -> Merged {
        let mut merged = Merged::default();
        let labels = if family.labels.is_empty() {
            vec![]
        } else {
            vec![label.to_owned()]
        };
        merged.put(family, labels, cells.to_vec());
        merged
    }

    #[test]
    fn a_counter_is_sent_as_what_it_has_grown_by_and_one_that_has_not_is_left_out() {
        let counter = Family::counter("a_total", "", &["route"]).with_inner("status", &["2xx", "5xx"]);
        let (before, now) = (with(&counter, "api", &[3, 1]), with(&counter, "api", &[5, 1]));
        assert_eq!(lines(&now, &before, &TAGS), ["a_total:2|c|#route:api,status:2xx"]);
        assert_eq!(lines(&before, &before, &TAGS), [""; 0]);
        // one that was forgotten begins anew
        assert_eq!(lines(&before, &now, &TAGS), ["a_total:3|c|#route:api,status:2xx"]);
    }

    #[test]
    fn labels_cannot_break_a_line() {
        let counter = Family::counter("a_total", "", &["route"]);
        let now = with(&counter, "a|b,c#d\n1:2|c\u{1b}\u{85}é", &[1]);
        assert_eq!(
            lines(&now, &Merged::default(), &TAGS),
            ["a_total:1|c|#route:a_b_c_d_1:2_c__é"]
        );
        let plain = Naming {
            prefix: "site.".to_owned(),
            tags: false,
        };
        assert_eq!(
            lines(&now, &Merged::default(), &plain),
            ["site.a_total.a_b_c_d_1_2_c___:1|c"]
        );
        assert_eq!(
            lines(&with(&counter, "", &[1]), &Merged::default(), &plain),
            ["site.a_total.none:1|c"]
        );
    }

    #[test]
    fn a_gauge_below_zero_is_no_difference() {
        let gauge = Family::gauge("b", "", &[], Merge::Sum);
        let gauge = Family {
            scale: Scale::Float,
            ..gauge
        };
        let below = with(&gauge, "", &[(-5.5_f64).to_bits()]);
        assert_eq!(lines(&below, &below, &TAGS), ["b:0|g", "b:-5.5|g"]);
    }

    #[test]
    fn calls_are_sent_by_bucket_with_how_many_they_were() {
        let took = Family::histogram("c_seconds", "", &[], &[0.25, 0.5], Scale::Integer(10));
        let mut cells = vec![0; took.cells()];
        let before = with(&took, "", &cells);
        (cells[0], cells[1], cells[2]) = (1, 4, 1);
        let now = with(&took, "", &cells);
        assert_eq!(
            lines(&now, &before, &TAGS),
            ["c_seconds:0.25|h", "c_seconds:0.5|h|@0.25", "c_seconds:0.5|h"]
        );
        let plain = Naming {
            prefix: String::new(),
            tags: false,
        };
        assert_eq!(lines(&now, &before, &plain)[1], "c:500|ms|@0.25");
    }

    #[test]
    fn no_datagram_is_larger_than_an_ethernet_takes() {
        let counter = Family::counter("a_total", "", &["route"]);
        let mut now = Merged::default();
        for number in 0..1_000 {
            now.put(&counter, vec![format!("route-{number}")], vec![1]);
        }
        let made = datagrams(&now, &Merged::default(), &TAGS);
        assert!(made
            .iter()
            .all(|one| one.len() <= MAX_DATAGRAM_BYTES && !one.ends_with('\n')));
        assert_eq!(made.iter().flat_map(|one| one.lines()).count(), 1_000);
    }
}
