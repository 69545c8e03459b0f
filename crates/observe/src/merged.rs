//! Numbers of several processes as one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use headgate_shared::series::{unix_seconds, Family, Kind, Merge, Reading, Scale, EXEMPLAR_CELLS, GRACE_S};

/// Families by their keys.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Those of one name stand side by side: histograms of which the buckets differ, see [`key`].
    pub(crate) families: BTreeMap<String, MergedFamily>,
    /// Series that found no room, of all processes.
    pub(crate) dropped: u64,
    /// Label sets that went into `other`, of all processes.
    pub(crate) folded: u64,
}

/// A family with the sums of its series.
#[derive(Debug)]
pub(crate) struct MergedFamily {
    pub(crate) family: Family,
    pub(crate) series: BTreeMap<Vec<String>, Merging>,
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct Merging {
    pub(crate) cells: Vec<u64>,
    /// When a process that lives last had it, in Unix seconds.
    seen: u64,
    standing: Standing,
}

/// Who counts in a series, the one that counts for more last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Processes that are gone.
    Gone,
    /// Processes that live have done so.
    Released,
    /// One that lives does.
    Live,
}

/// What a family is known by: its name, and of a histogram its buckets, since calls in other buckets are never added up. No
/// name has a character below a line break, so that all of a name are side by side.
fn key(family: &Family) -> String {
    let mut key = family.name.clone();
    if family.kind == Kind::Histogram {
        key.push('\n');
        for bound in &family.bounds {
            let _ = write!(key, "{bound},"); // a String takes all
        }
    }
    key
}

impl Merged {
    /// Adds what a process has counted. Of two families of one name that differ in more than their buckets the first one
    /// stays: numbers with other meanings are not added up.
    pub(crate) fn add(&mut self, reading: Reading, with_gauges: bool) {
        self.dropped += reading.dropped;
        self.folded += reading.folded;
        for read in reading.families {
            if read.family.kind == Kind::Gauge && !with_gauges {
                continue;
            }
            let Some(into) = self.family(&read.family) else {
                continue;
            };
            for (labels, series) in read.series {
                let standing = if series.is_released {
                    Standing::Released
                } else {
                    Standing::Live
                };
                into.put(labels, series.cells, standing);
            }
        }
    }

    /// Adds the cells of one series.
    pub(crate) fn put(&mut self, family: &Family, labels: Vec<String>, cells: Vec<u64>) {
        if let Some(into) = self.family(family) {
            into.put(labels, cells, Standing::Live);
        }
    }

    /// The family that such series go into, if they fit there.
    fn family(&mut self, family: &Family) -> Option<&mut MergedFamily> {
        let into = self.families.entry(key(family)).or_insert_with(|| MergedFamily {
            family: family.clone(),
            series: BTreeMap::new(),
        });
        (into.family == *family).then_some(into)
    }

    /// Adds what processes that are gone have counted. What the configuration no longer names is left out and forgotten once
    /// no process has had it for a while; when it comes back it begins at 0.
    pub(crate) fn add_retired(&mut self, retired: &mut Self) {
        let now = unix_seconds();
        self.dropped += retired.dropped;
        self.folded += retired.folded;
        for (key, gone) in &mut retired.families {
            let live = self.families.get(key);
            let is_declared = gone.family.is_declared;
            gone.series.retain(|labels, one| {
                if live.is_some_and(|live| live.series.contains_key(labels)) {
                    one.seen = now;
                }
                !is_declared || one.seen + GRACE_S >= now
            });
            let Some(into) = self.family(&gone.family) else {
                continue;
            };
            for (labels, one) in &gone.series {
                into.put(labels.clone(), one.cells.clone(), Standing::Gone);
            }
        }
    }

    /// Leaves each set of labels in one family of a name: where the buckets of a series have changed, in the one in which it
    /// is counted now. Of families that differ in more the first one stays.
    pub(crate) fn settle(&mut self) {
        let families = self.families.iter();
        let keys: Vec<(String, String)> = families
            .map(|(key, one)| (one.family.name.clone(), key.clone()))
            .collect();
        for group in keys.chunk_by(|one, other| one.0 == other.0) {
            if group.len() > 1 {
                let first = self.families[&group[0].1].family.clone();
                self.families.retain(|_, one| {
                    let bounds = first.bounds.clone();
                    one.family.name != first.name
                        || Family {
                            bounds,
                            ..one.family.clone()
                        } == first
                });
                self.settle_group(group);
            }
        }
    }

    fn settle_group(&mut self, group: &[(String, String)]) {
        let mut best: BTreeMap<Vec<String>, (Standing, usize)> = BTreeMap::new();
        for (place, (_, key)) in group.iter().enumerate() {
            let family = self.families.get(key);
            for (labels, one) in family.into_iter().flat_map(|family| &family.series) {
                let known = best.entry(labels.clone()).or_insert((one.standing, place));
                if one.standing > known.0 {
                    *known = (one.standing, place);
                }
            }
        }
        for (place, (_, key)) in group.iter().enumerate() {
            if let Some(family) = self.families.get_mut(key) {
                family.series.retain(|labels, _| best[labels].1 == place);
            }
        }
    }

    /// The family of that name, where there is but one.
    #[cfg(test)]
    pub(crate) fn only(&self, name: &str) -> Option<&MergedFamily> {
        let mut named = self.families.values().filter(|one| one.family.name == name);
        named.next().filter(|_| named.next().is_none())
    }
}

impl MergedFamily {
    fn put(&mut self, labels: Vec<String>, cells: Vec<u64>, standing: Standing) {
        if let Some(known) = self.series.get_mut(&labels) {
            merge(&self.family, &mut known.cells, &cells);
            known.standing = known.standing.max(standing);
        } else {
            let one = Merging {
                cells,
                seen: unix_seconds(),
                standing,
            };
            self.series.insert(labels, one);
        }
    }
}

fn merge(family: &Family, into: &mut [u64], cells: &[u64]) {
    let add = |into: &mut u64, n: u64| match family.scale {
        Scale::Integer(_) => *into = into.wrapping_add(n),
        Scale::Float => *into = (f64::from_bits(*into) + f64::from_bits(n)).to_bits(),
    };
    match family.kind {
        Kind::Counter => into.iter_mut().zip(cells).for_each(|(into, n)| add(into, *n)),
        Kind::Gauge => into
            .iter_mut()
            .zip(cells)
            .for_each(|(into, n)| match family.merge {
                Merge::Sum => add(into, *n),
                Merge::Max if value(family.scale, *n) > value(family.scale, *into) => *into = *n,
                Merge::Min if value(family.scale, *n) < value(family.scale, *into) => *into = *n,
                Merge::Max | Merge::Min => {}
            }),
        Kind::Histogram => {
            let sum = family.sum_cell();
            for (into, n) in into[..sum].iter_mut().zip(cells) {
                *into = into.wrapping_add(*n);
            }
            add(&mut into[sum], cells[sum]);
            let exemplar = sum + 1..sum + 1 + EXEMPLAR_CELLS;
            // the newest one, by its time
            if cells[sum + 3] > into[sum + 3] {
                into[exemplar.clone()].copy_from_slice(&cells[exemplar]);
            }
        }
    }
}

/// A cell's value.
#[allow(
    clippy::cast_precision_loss,
    reason = "what is shown is a floating point number"
)]
pub(crate) fn value(scale: Scale, cell: u64) -> f64 {
    match scale {
        Scale::Integer(1) => cell as f64,
        Scale::Integer(divisor) => cell as f64 / divisor as f64,
        Scale::Float => f64::from_bits(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_shared::series::{read, Registry, SeriesMemory};

    fn reading(registry: &Registry) -> Reading {
        let fd = registry
            .fd()
            .try_clone_to_owned()
            .expect("a descriptor can be copied");
        read(&SeriesMemory::open(fd).expect("it is ours"))
    }

    #[test]
    fn each_kind_comes_together_in_its_way() {
        let (one, two) = (
            Registry::create().expect("memory"),
            Registry::create().expect("memory"),
        );
        let counter = Family::counter("a_total", "", &[]);
        let least = Family::gauge("b", "", &[], Merge::Min);
        let took = Family::histogram("c_seconds", "", &[], &[0.5], Scale::Integer(1_000));
        for (registry, n) in [(&one, 3), (&two, 5)] {
            registry.series(&counter, &[], 9).expect("new").add(0, n);
            registry.series(&least, &[], 9).expect("new").set(0, n);
            let took = registry.series(&took, &[], 9).expect("new");
            took.add(1, n);
            took.add(2, n * 700);
            took.set_exemplar(n, n, b"id");
        }
        let mut merged = Merged::default();
        merged.add(reading(&one), true);
        merged.add(reading(&two), true);
        let cells = |name: &str| {
            let family = merged.only(name).expect("it was added");
            family.series[&Vec::<String>::new()].cells.clone()
        };
        assert_eq!(cells("a_total"), [8]);
        assert_eq!(cells("b"), [3]);
        assert_eq!(cells("c_seconds")[..6], [0, 8, 5_600, 2, 5, 5]);
        let mut counters_only = Merged::default();
        counters_only.add(reading(&one), false);
        assert!(!counters_only.families.contains_key("b"));
    }

    fn took(bound: f64) -> Family {
        Family::histogram("c_seconds", "", &["route"], &[bound], Scale::Float).declared()
    }

    /// What is shown of each series: bound, label, calls.
    fn shown(merged: &Merged) -> Vec<(f64, String, u64)> {
        let families = merged.families.values();
        let all = families.flat_map(|one| {
            one.series
                .iter()
                .map(move |(labels, series)| (one, labels, series))
        });
        all.map(|(one, labels, series)| (one.family.bounds[0], labels[0].clone(), series.cells[0]))
            .collect()
    }

    #[test]
    fn other_buckets_are_never_added_up() {
        let (one, two) = (
            Registry::create().expect("memory"),
            Registry::create().expect("memory"),
        );
        for (registry, bound) in [(&one, 0.5), (&two, 0.7)] {
            registry.series(&took(bound), &["a"], 9).expect("new").add(0, 1);
        }
        registry_with_own(&two, 0.9, "b", 4);
        let mut merged = Merged::default();
        merged.add(reading(&one), true);
        merged.add(reading(&two), true);
        merged.settle();
        assert_eq!(
            shown(&merged),
            [(0.5, "a".to_owned(), 1), (0.9, "b".to_owned(), 4)]
        );
    }

    fn registry_with_own(registry: &Registry, bound: f64, route: &str, calls: u64) {
        let family = took(bound).with_own_buckets();
        registry.series(&family, &[route], 9).expect("new").add(0, calls);
    }

    #[test]
    fn a_series_whose_buckets_have_changed_is_shown_once_with_the_new_ones_and_loses_nothing_of_them() {
        let registry = Registry::create().expect("memory");
        registry_with_own(&registry, 0.5, "a", 10);
        registry_with_own(&registry, 0.7, "a", 1);
        registry.release(&took(0.5).with_own_buckets().key(), &["a"]);
        let seen = |retired: &mut Merged, live: &[&Registry]| {
            let mut merged = Merged::default();
            for one in live {
                merged.add(reading(one), true);
            }
            merged.add_retired(retired);
            merged.settle();
            shown(&merged)
        };
        let mut retired = Merged::default();
        assert_eq!(seen(&mut retired, &[&registry]), [(0.7, "a".to_owned(), 1)]);
        // its process is gone, and another one counts on
        retired.add(reading(&registry), false);
        let next = Registry::create().expect("memory");
        registry_with_own(&next, 0.7, "a", 2);
        assert_eq!(seen(&mut retired, &[&next]), [(0.7, "a".to_owned(), 3)]);
        // and back again: what was counted then is not forgotten either
        registry_with_own(&next, 0.5, "a", 5);
        next.release(&took(0.7).with_own_buckets().key(), &["a"]);
        assert_eq!(seen(&mut retired, &[&next]), [(0.5, "a".to_owned(), 15)]);
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten_and_begins_anew() {
        let live = Registry::create().expect("memory");
        let pods = Family::counter("a_total", "", &["pod"]).declared();
        live.series(&pods, &["kept"], 9).expect("new").add(0, 1);
        let mut retired = Merged::default();
        for pod in ["kept", "gone", "just_gone"] {
            retired.put(&pods, vec![pod.to_owned()], vec![10]);
        }
        let series = &mut retired.families.get_mut("a_total").expect("it was put").series;
        series.get_mut(&vec!["gone".to_owned()]).expect("it was put").seen -= GRACE_S + 1;
        series.get_mut(&vec!["kept".to_owned()]).expect("it was put").seen -= GRACE_S + 1;
        let mut merged = Merged::default();
        merged.add(reading(&live), true);
        merged.add_retired(&mut retired);
        let shown: Vec<_> = merged.families["a_total"]
            .series
            .iter()
            .map(|(labels, one)| (labels[0].as_str(), one.cells[0]))
            .collect();
        assert_eq!(shown, [("just_gone", 10), ("kept", 11)]);
        assert_eq!(retired.families["a_total"].series.len(), 2);
    }
}
