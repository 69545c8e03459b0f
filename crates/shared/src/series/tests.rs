use super::super::{Merge, Registry, Scale};
use super::*;

fn memory_of(registry: &Registry) -> SeriesMemory {
    SeriesMemory::open(
        registry
            .fd()
            .try_clone_to_owned()
            .expect("a descriptor can be copied"),
    )
    .expect("it is ours")
}

fn shown(registry: &Registry) -> Vec<(String, Vec<String>, Vec<u64>)> {
    let families = read(&memory_of(registry)).families;
    let mut all = Vec::new();
    for one in families {
        for (labels, series) in one.series {
            all.push((one.family.name.clone(), labels, series.cells));
        }
    }
    all
}

#[test]
fn what_one_process_counts_another_reads_by_name() {
    let registry = Registry::create().expect("memory");
    let requests =
        Family::counter("requests_total", "Requests.", &["route"]).with_inner("status", &["2xx", "5xx"]);
    let up = Family::gauge("up", "Whether.", &[], Merge::Min);
    let api = registry.series(&requests, &["api"], usize::MAX).expect("new");
    registry.series(&up, &[], usize::MAX).expect("new").set(0, 1);
    api.add(1, 3);
    registry
        .series(&requests, &["api"], usize::MAX)
        .expect("known")
        .add(1, 4);
    assert_eq!(
        shown(&registry),
        [
            ("requests_total".into(), vec!["api".into()], vec![0, 7]),
            ("up".into(), vec![], vec![1]),
        ]
    );
}

#[test]
fn label_sets_past_the_bound_are_one() {
    let registry = Registry::create().expect("memory");
    let family = Family::counter("a_total", "", &["x"]);
    for number in 0..100_000 {
        registry
            .series(&family, &[&number.to_string()], 3)
            .expect("fits")
            .add(0, 1);
    }
    let all = shown(&registry);
    assert_eq!(all.len(), 4);
    assert!(all.contains(&("a_total".into(), vec!["other".into()], vec![99_997])));
    assert_eq!(read(&memory_of(&registry)).folded, 99_997);
}

#[test]
fn memory_that_is_full_drops_and_says_so() {
    let registry = Registry::create().expect("memory");
    let names: Vec<String> = (0..5_000).map(|value| value.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = Family::counter("a_total", "", &["x"]).with_inner("y", &names);
    for number in 0..900 {
        registry
            .series(&large, &[&number.to_string()], usize::MAX)
            .expect("no conflict")
            .add(4_000, 1);
    }
    let reading = read(&memory_of(&registry));
    let kept = reading.families[0].series.len() as u64;
    assert!((700..900).contains(&kept), "{kept}");
    assert_eq!(reading.dropped, 900 - kept);
}

#[test]
fn a_name_has_one_meaning() {
    let registry = Registry::create().expect("memory");
    let counter = Family::counter("a", "", &[]);
    registry.series(&counter, &[], 1).expect("new");
    assert!(registry
        .series(&Family::gauge("a", "", &[], Merge::Sum), &[], 1)
        .is_err());
}

#[test]
fn what_was_released_is_still_shown_and_comes_back_with_its_numbers() {
    let registry = Registry::create().expect("memory");
    let family = Family::counter("a_total", "", &["pod"]).declared();
    registry
        .series(&family, &["one"], usize::MAX)
        .expect("new")
        .add(0, 5);
    let generation = registry.begin_generation();
    registry.release_before(generation);
    assert_eq!(shown(&registry).len(), 1);
    registry
        .series(&family, &["one"], usize::MAX)
        .expect("back")
        .add(0, 1);
    assert_eq!(
        shown(&registry),
        [("a_total".into(), vec!["one".into()], vec![6])]
    );
}

#[test]
fn what_is_asked_for_again_stays() {
    let registry = Registry::create().expect("memory");
    let declared = Family::counter("a_total", "", &["pod"]).declared();
    let other = Family::counter("b_total", "", &[]);
    let ask = |name| registry.series(&declared, &[name], usize::MAX).expect("series");
    let (kept, gone) = (ask("kept"), ask("gone"));
    registry.series(&other, &[], 1).expect("series");
    let generation = registry.begin_generation();
    assert_eq!(ask("kept").place(), kept.place());
    // while its requests end, another thread releases what they do not need any more
    std::thread::scope(|scope| scope.spawn(|| registry.release_before(generation)).join()).expect("done");
    assert!(registry.has("a_total", &["kept"]) && registry.has("b_total", &[]));
    assert!(!registry.has("a_total", &["gone"]));
    assert_eq!(ask("kept").place(), kept.place());
    assert_eq!(
        ask("gone").place(),
        gone.place(),
        "it comes back with its numbers"
    );
}

#[test]
fn exemplars_are_whole() {
    let registry = Registry::create().expect("memory");
    let family = Family::histogram("a_seconds", "", &[], &[0.5], Scale::Integer(1000));
    let series = registry.series(&family, &[], 1).expect("new");
    series.set_exemplar(7, 99, b"0123456789abcdef0123456789abcdefTOO LONG");
    let (_, _, cells) = shown(&registry).remove(0);
    let text: Vec<u8> = cells[6..10].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(
        (cells[4], cells[5], &text[..]),
        (7, 99, &b"0123456789abcdef0123456789abcdef"[..])
    );
    assert_eq!(series.exemplar_ms(), 99);
}

#[test]
fn any_words_are_read_without_a_panic() {
    let registry = Registry::create().expect("memory");
    let family = Family::counter("a_total", "", &["x"]);
    registry.series(&family, &["y"], 9).expect("new");
    let memory = memory_of(&registry);
    let words = memory.0.words();
    let mut seed = 88_172_645_463_325_252_u64;
    for _ in 0..20_000 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = 3 + usize::try_from(seed % 40).expect("small");
        let value = if seed % 3 == 0 { seed % 64 } else { seed };
        words[at].store(value, Relaxed);
        read(&memory);
    }
}

#[test]
fn families_of_one_name_may_differ_in_their_buckets_where_they_say_so() {
    let registry = Registry::create().expect("memory");
    let took =
        |bounds: &[f64]| Family::histogram("c_seconds", "", &["x"], bounds, Scale::Integer(1_000)).declared();
    let usual = registry.series(&took(&[0.5]), &["a"], 9).expect("new");
    assert!(registry.series(&took(&[0.5, 1.0]), &["b"], 9).is_err());
    let own = took(&[0.5, 1.0]).with_own_buckets();
    let other = registry.series(&own, &["a"], 9).expect("it says so");
    usual.add(0, 1);
    other.add(1, 2);
    let told = |is_released: bool| -> Vec<_> {
        read(&memory_of(&registry))
            .families
            .into_iter()
            .flat_map(|one| one.series.into_values())
            .filter(|series| series.is_released == is_released)
            .map(|series| series.cells[..2].to_vec())
            .collect()
    };
    assert_eq!(told(false), [[1, 0], [0, 2]]);
    registry.release("c_seconds", &["a"]);
    assert_eq!((told(true), told(false)), (vec![vec![1, 0]], vec![vec![0, 2]]));
    registry.release(&own.key(), &["a"]);
    assert!(told(false).is_empty() && told(true).len() == 2);
}
