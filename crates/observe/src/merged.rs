//! Numbers of several processes as one.

use std::collections::BTreeMap;

use headgate_shared::series::{unix_seconds, Family, Kind, Merge, Reading, Scale, EXEMPLAR_CELLS, GRACE_S};

/// Families by name.
#[derive(Debug, Default)]
pub(crate) struct Merged {
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
}

impl Merged {
    /// Adds what a process has counted. Of two families of one name that differ the first one stays: numbers with other
    /// meanings or other buckets are not added up.
    pub(crate) fn add(&mut self, reading: Reading, with_gauges: bool) {
        self.dropped += reading.dropped;
        self.folded += reading.folded;
        for read in reading.families {
            if read.family.kind == Kind::Gauge && !with_gauges {
                continue;
            }
            for (labels, cells) in read.series {
                self.put(&read.family, labels, cells);
            }
        }
    }

    /// Adds the cells of one series.
    pub(crate) fn put(&mut self, family: &Family, labels: Vec<String>, cells: Vec<u64>) {
        if !self.families.contains_key(&family.name) {
            let series = BTreeMap::new();
            let family = family.clone();
            self.families
                .insert(family.name.clone(), MergedFamily { family, series });
        }
        let Some(into) = self
            .families
            .get_mut(&family.name)
            .filter(|known| known.family == *family)
        else {
            return;
        };
        if let Some(known) = into.series.get_mut(&labels) {
            merge(family, &mut known.cells, &cells);
        } else {
            let seen = unix_seconds();
            into.series.insert(labels, Merging { cells, seen });
        }
    }

    /// Adds what processes that are gone have counted. What the configuration no longer names is left out and forgotten once
    /// no process has had it for a while; when it comes back it begins at 0.
    pub(crate) fn add_retired(&mut self, retired: &mut Self) {
        let now = unix_seconds();
        self.dropped += retired.dropped;
        self.folded += retired.folded;
        for (name, gone) in &mut retired.families {
            let live = self.families.get(name);
            let is_declared = gone.family.is_declared;
            gone.series.retain(|labels, one| {
                if live.is_some_and(|live| live.series.contains_key(labels)) {
                    one.seen = now;
                }
                !is_declared || one.seen + GRACE_S >= now
            });
            for (labels, one) in &gone.series {
                let family = gone.family.clone();
                self.put(&family, labels.clone(), one.cells.clone());
            }
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
        let cells = |name: &str| merged.families[name].series[&Vec::<String>::new()].cells.clone();
        assert_eq!(cells("a_total"), [8]);
        assert_eq!(cells("b"), [3]);
        assert_eq!(cells("c_seconds")[..6], [0, 8, 5_600, 2, 5, 5]);
        let mut counters_only = Merged::default();
        counters_only.add(reading(&one), false);
        assert!(!counters_only.families.contains_key("b"));
    }

    #[test]
    fn other_buckets_are_never_added_up() {
        let (one, two) = (
            Registry::create().expect("memory"),
            Registry::create().expect("memory"),
        );
        for (registry, bound) in [(&one, 0.5), (&two, 0.7)] {
            let took = Family::histogram("c_seconds", "", &[], &[bound], Scale::Float);
            registry.series(&took, &[], 9).expect("new").add(0, 1);
        }
        let mut merged = Merged::default();
        merged.add(reading(&one), true);
        merged.add(reading(&two), true);
        let family = &merged.families["c_seconds"];
        assert_eq!(
            (
                family.family.bounds[0],
                family.series[&Vec::<String>::new()].cells[0]
            ),
            (0.5, 1)
        );
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
