//! All that a gateway has counted, from its begin: by processes that live, and by those that are gone.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headgate_shared::series::{read, unix_seconds, Family, Registry, SeriesMemory};
use headgate_shared::Zone;

use crate::counters;
use crate::merged::Merged;
use crate::statsd::{datagrams, Naming};
use crate::text::{self, Format};

/// For so long a text serves all who ask for it: many scrapers at once cost as much as one.
const FRESH: Duration = Duration::from_secs(1);
/// The supervisor tells that it runs every second; one that has not for so long hangs.
const SILENCE_S: u64 = 10;

/// The sums over the processes of a gateway. Shared between the thread that serves them and those who add to them.
#[derive(Default)]
pub struct Exporter {
    sources: Mutex<Sources>,
    texts: Mutex<Vec<(Format, Instant, Arc<str>)>>,
    is_ready: AtomicBool,
    is_blocked: AtomicBool,
    beat: AtomicU64,
    /// What was pushed last; none where nothing is.
    pushed: Mutex<Option<Merged>>,
    /// Datagrams that were sent, and that could not be.
    datagrams: (AtomicU64, AtomicU64),
}

/// What a predecessor hands over: the memory of its counters and of its processes, and sums of those that were gone.
#[derive(Default)]
pub struct Inherited {
    /// A zone, and the names of its cells.
    pub zones: Vec<(Zone, Vec<String>)>,
    /// Memory of processes that may still count.
    pub memories: Vec<SeriesMemory>,
    /// What others had counted.
    pub retired: Option<SeriesMemory>,
    /// What was pushed last.
    pub pushed: Option<SeriesMemory>,
}

/// The memory that a successor gets, by descriptors.
pub struct HandedOver {
    /// Of all who may still count.
    pub memories: Vec<OwnedFd>,
    /// The sums of those who are gone.
    pub retired: OwnedFd,
    /// What was pushed last, if anything is.
    pub pushed: Option<OwnedFd>,
}

#[derive(Default)]
struct Sources {
    zones: Vec<(Zone, Vec<String>)>,
    /// By the number that its process is known by.
    memories: Vec<(u64, SeriesMemory)>,
    /// Of processes that somebody else looks after: they are asked for by their owner's token.
    foreign: Vec<SeriesMemory>,
    retired: Merged,
}

impl Exporter {
    /// Adds a zone of counters whose cells have these names.
    pub fn add_zone(&self, zone: Zone, names: Vec<String>) {
        self.sources().zones.push((zone, names));
    }

    /// Adds the memory of a process, by a number of the caller's choice.
    pub fn add(&self, number: u64, memory: SeriesMemory) {
        self.sources().memories.push((number, memory));
    }

    /// The process of that number is gone: what it has counted is kept, what it held is not.
    pub fn retire(&self, number: u64) {
        let mut sources = self.sources();
        if let Some(at) = sources.memories.iter().position(|(known, _)| *known == number) {
            let (_, memory) = sources.memories.swap_remove(at);
            sources.retired.add(read(&memory), false);
        }
    }

    /// Takes over from a predecessor.
    pub fn inherit(&self, inherited: Inherited) {
        let mut sources = self.sources();
        sources.zones.extend(inherited.zones);
        sources.foreign.extend(inherited.memories);
        if let Some(retired) = inherited.retired {
            sources.retired.add(read(&retired), false);
        }
        if let Some(pushed) = inherited.pushed {
            let mut known = Merged::default();
            known.add(read(&pushed), false);
            *self.pushed() = Some(known);
        }
    }

    /// For a successor. Nothing is to be pushed from here on, but where the successor fails.
    ///
    /// # Errors
    /// The system's, if there is no memory or no descriptor.
    pub fn hand_over(&self) -> std::io::Result<HandedOver> {
        let sources = self.sources();
        let own = sources.memories.iter().map(|(_, memory)| memory);
        let memories = own
            .chain(&sources.foreign)
            .map(|memory| memory.fd().try_clone_to_owned())
            .collect::<Result<_, _>>()?;
        Ok(HandedOver {
            memories,
            retired: written(&sources.retired)?,
            pushed: self.pushed().as_ref().map(written).transpose()?,
        })
    }

    /// Whether requests are served, which `/readyz` says.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Relaxed);
    }

    /// See [`Exporter::set_ready`].
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed)
    }

    /// The supervisor runs; `is_blocked` if none of its workers responds.
    pub fn beat(&self, is_blocked: bool) {
        self.beat.store(unix_seconds(), Relaxed);
        self.is_blocked.store(is_blocked, Relaxed);
    }

    /// Whether the supervisor and a worker respond, which `/livez` says. True before the first beat.
    pub fn is_live(&self) -> bool {
        let beat = self.beat.load(Relaxed);
        let is_silent = beat != 0 && beat + SILENCE_S < unix_seconds();
        !is_silent && !self.is_blocked.load(Relaxed)
    }

    /// All of it as text, at most a second old.
    pub fn recent_text(&self, format: Format) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.retain(|(_, made, _)| made.elapsed() < FRESH);
        if let Some((_, _, text)) = texts.iter().find(|(known, _, _)| *known == format) {
            return text.clone();
        }
        let text: Arc<str> = self.text(format).into();
        texts.push((format, Instant::now(), text.clone()));
        text
    }

    /// All of it as text, now.
    pub fn text(&self, format: Format) -> String {
        text::write(&self.merged(), format)
    }

    /// All of it as JSON, for programs: see `json`.
    pub fn json(&self) -> String {
        crate::json::write(&self.merged())
    }

    /// What is counted from now on is pushed, or from where a predecessor or the settings before have stopped.
    pub(crate) fn begin_pushing(&self) {
        let now = self.merged();
        self.pushed().get_or_insert(now);
    }

    /// Nothing is pushed any more.
    pub fn end_pushing(&self) {
        *self.pushed() = None;
    }

    /// What has been counted since the last push, as datagrams for `StatsD`.
    pub(crate) fn grown(&self, naming: &Naming) -> Vec<String> {
        let now = self.merged();
        let mut pushed = self.pushed();
        let made = datagrams(&now, &pushed.take().unwrap_or_default(), naming);
        *pushed = Some(now);
        made
    }

    /// So many datagrams were sent, and so many could not be.
    pub(crate) fn has_pushed(&self, sent: u64, failed: u64) {
        self.datagrams.0.fetch_add(sent, Relaxed);
        self.datagrams.1.fetch_add(failed, Relaxed);
    }

    fn merged(&self) -> Merged {
        let mut sources = self.sources();
        let sources = &mut *sources;
        let mut merged = Merged::default();
        let (gone, live): (Vec<_>, Vec<_>) = std::mem::take(&mut sources.foreign)
            .into_iter()
            .partition(|memory| !memory.is_owner_alive());
        for memory in gone {
            sources.retired.add(read(&memory), false);
        }
        sources.foreign = live;
        let own = sources.memories.iter().map(|(_, memory)| memory);
        for memory in own.chain(&sources.foreign) {
            merged.add(read(memory), true);
        }
        merged.add_retired(&mut sources.retired);
        for (zone, names) in &sources.zones {
            counters::add(&mut merged, zone, names);
        }
        let about_itself = [
            (
                "headgate_metrics_series_dropped_total",
                "Series that found no room in a worker's memory.",
                merged.dropped,
            ),
            (
                "headgate_metrics_label_sets_folded_total",
                "Label sets past a metric's bound, counted as `other`.",
                merged.folded,
            ),
        ];
        for (name, help, number) in about_itself {
            merged.put(&Family::counter(name, help, &[]), Vec::new(), vec![number]);
        }
        let (sent, failed) = &self.datagrams;
        let help = "Datagrams for StatsD that were sent, and that could not be.";
        let family = Family::counter("headgate_statsd_datagrams_total", help, &[])
            .with_inner("outcome", &["sent", "failed"]);
        merged.put(
            &family,
            Vec::new(),
            vec![sent.load(Relaxed), failed.load(Relaxed)],
        );
        merged.settle();
        merged
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, Option<Merged>> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sums in memory that another process can read.
fn written(merged: &Merged) -> std::io::Result<OwnedFd> {
    let registry = Registry::create()?;
    for merged in merged.families.values() {
        // there may be others of its name
        let family = merged.family.clone().with_own_buckets();
        for (labels, one) in &merged.series {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            if let Ok(series) = registry.series(&family, &labels, usize::MAX) {
                for (cell, n) in one.cells.iter().enumerate() {
                    series.set(cell, *n);
                }
            }
        }
    }
    registry.fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_of(registry: &Registry) -> SeriesMemory {
        SeriesMemory::open(registry.fd().try_clone_to_owned().expect("a descriptor")).expect("it is ours")
    }

    fn line(exporter: &Exporter, name: &str) -> String {
        let text = exporter.text(Format::Prometheus);
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    }

    #[test]
    fn sums_never_fall_when_processes_end_and_their_gauges_vanish() {
        let exporter = Exporter::default();
        let (counter, gauge) = (
            Family::counter("a_total", "", &["x"]),
            Family::gauge("b", "", &[], headgate_shared::series::Merge::Sum),
        );
        for number in 0..100 {
            let registry = Registry::create().expect("memory");
            registry.series(&counter, &["y"], 9).expect("new").add(0, 2);
            registry.series(&gauge, &[], 9).expect("new").set(0, 1);
            exporter.add(number, memory_of(&registry));
            assert_eq!(
                line(&exporter, "a_total"),
                format!("a_total{{x=\"y\"}} {}", 2 * (number + 1))
            );
            assert_eq!(line(&exporter, "b "), "b 1");
            exporter.retire(number);
            assert_eq!(
                line(&exporter, "a_total"),
                format!("a_total{{x=\"y\"}} {}", 2 * (number + 1))
            );
            assert_eq!(line(&exporter, "b "), "");
        }
    }

    #[test]
    fn a_successor_goes_on_from_where_its_predecessor_was() {
        let (old, new) = (Exporter::default(), Exporter::default());
        let counter = Family::counter("a_total", "", &[]);
        let (gone, live) = (
            Registry::create().expect("memory"),
            Registry::create().expect("memory"),
        );
        gone.series(&counter, &[], 9).expect("new").add(0, 5);
        old.add(1, memory_of(&gone));
        old.retire(1);
        live.series(&counter, &[], 9).expect("new").add(0, 1);
        old.add(2, memory_of(&live));
        old.begin_pushing();
        live.series(&counter, &[], 9).expect("known").add(0, 3);
        let opened = |file: OwnedFd| SeriesMemory::open(file).expect("it is ours");
        let handed = old.hand_over().expect("descriptors");
        new.inherit(Inherited {
            zones: Vec::new(),
            memories: handed.memories.into_iter().map(opened).collect(),
            retired: Some(opened(handed.retired)),
            pushed: handed.pushed.map(opened),
        });
        assert_eq!(line(&new, "a_total"), "a_total 9");
        live.series(&counter, &[], 9).expect("known").add(0, 1);
        assert_eq!(line(&new, "a_total"), "a_total 10");
        // what neither of them has pushed is pushed once
        new.begin_pushing();
        let naming = Naming {
            prefix: String::new(),
            tags: true,
        };
        assert!(new
            .grown(&naming)
            .join("\n")
            .lines()
            .any(|line| line == "a_total:4|c"));
        assert!(!new.grown(&naming).join("\n").contains("a_total"));
    }

    #[test]
    fn who_does_not_beat_does_not_live() {
        let exporter = Exporter::default();
        assert!(exporter.is_live() && !exporter.is_ready());
        exporter.beat(true);
        assert!(!exporter.is_live());
        exporter.beat(false);
        assert!(exporter.is_live());
        exporter.beat.store(unix_seconds() - SILENCE_S - 1, Relaxed);
        assert!(!exporter.is_live());
    }
}
