//! The same numbers for programs: `{"families": [{"name", "kind", "help", "series": [{"labels", ...}]}]}`. A series has a
//! `value`, or as a histogram `buckets` (pairs of an upper bound, null for none, and the calls in that bucket alone; without
//! those that have none), `sum` and `count`.

use headgate_shared::series::Kind;
use serde_json::{json, Map, Value};

use crate::merged::{value, Merged, MergedFamily, Merging};

pub(crate) fn write(merged: &Merged) -> String {
    let families: Vec<&MergedFamily> = merged.families.values().collect();
    // histograms of one name whose buckets differ are one to readers
    let named = families.chunk_by(|one, other| one.family.name == other.family.name);
    let families: Vec<Value> = named.map(family).collect();
    json!({ "families": families }).to_string()
}

fn family(named: &[&MergedFamily]) -> Value {
    let family = &named[0].family;
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let of_one = |one: &&MergedFamily| -> Vec<Value> {
        let series = one.series.iter();
        series
            .flat_map(|(labels, series)| shown(one, labels, series))
            .collect()
    };
    let series: Vec<Value> = named.iter().flat_map(of_one).collect();
    json!({ "name": family.name, "kind": kind, "help": family.help, "series": series })
}

fn shown(merged: &MergedFamily, labels: &[String], series: &Merging) -> Vec<Value> {
    let family = &merged.family;
    let named = || -> Map<String, Value> {
        let pairs = family.labels.iter().zip(labels);
        pairs.map(|(name, label)| (name.clone(), json!(label))).collect()
    };
    if family.kind == Kind::Histogram {
        let calls = &series.cells[..family.sum_cell()];
        let buckets: Vec<Value> = calls
            .iter()
            .enumerate()
            .filter(|(_, calls)| **calls > 0)
            .map(|(bucket, calls)| json!([family.bounds.get(bucket), calls]))
            .collect();
        let sum = value(family.scale, series.cells[family.sum_cell()]);
        let count = calls.iter().fold(0_u64, |sum, n| sum.wrapping_add(*n));
        return vec![json!({ "labels": named(), "buckets": buckets, "sum": sum, "count": count })];
    }
    let of_cell = |(cell, number): (usize, &u64)| {
        if *number == 0 && !family.inner.is_empty() {
            return None;
        }
        let (mut labels, mut rest) = (named(), cell);
        for (name, values) in family.inner.iter().rev() {
            labels.insert(name.clone(), json!(values[rest % values.len()]));
            rest /= values.len();
        }
        Some(json!({ "labels": labels, "value": value(family.scale, *number) }))
    };
    series.cells.iter().enumerate().filter_map(of_cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_shared::series::{Family, Scale};

    #[test]
    fn every_kind_is_told() {
        let mut merged = Merged::default();
        let counter = Family::counter("a_total", "A.", &["x"]).with_inner("s", &["2xx", "5xx"]);
        merged.put(&counter, vec!["<b>\"".into()], vec![0, 2]);
        let took = Family::histogram("b_seconds", "B.", &[], &[0.5], Scale::Integer(10));
        merged.put(&took, vec![], vec![1, 2, 35, 0, 0, 0, 0, 0, 0, 0]);
        let told: Value = serde_json::from_str(&write(&merged)).expect("it is JSON");
        assert_eq!(
            told,
            json!({"families": [
                {"name": "a_total", "kind": "counter", "help": "A.", "series": [{"labels": {"x": "<b>\"", "s": "5xx"}, "value": 2.0}]},
                {"name": "b_seconds", "kind": "histogram", "help": "B.",
                 "series": [{"labels": {}, "buckets": [[0.5, 1], [null, 2]], "sum": 3.5, "count": 3}]},
            ]})
        );
    }
}
