use proptest::prelude::*;

use super::*;

const USUAL: DivisionRule = DivisionRule {
    factor_percent: 140,
    panic_percent: 50,
};

/// A level of that priority of which so many of 100 servers are in rotation.
fn level(priority: u32, up: u64) -> (Rank, Tally) {
    let rank = Rank {
        priority,
        ..Rank::default()
    };
    (rank, tally(100, up))
}

fn tally(all: u64, up: u64) -> Tally {
    Tally {
        all: all * 100,
        open: all * 100,
        up: up * 100,
        open_count: usize::try_from(all).expect("it is small"),
        up_count: usize::try_from(up).expect("it is small"),
    }
}

fn percents(portions: &[Portion]) -> Vec<u64> {
    portions
        .iter()
        .map(|portion| (portion.share + 5_000) / 10_000)
        .collect()
}

#[test]
fn test_levels_get_what_the_tables_of_envoy_say() {
    // "Priority levels": healthy P=0, P=1, then load P=0, P=1
    for (up, load) in [
        ([100, 100], [100, 0]),
        ([72, 72], [100, 0]),
        ([71, 71], [99, 1]),
        ([50, 50], [70, 30]),
        ([25, 100], [35, 65]),
        ([25, 25], [50, 50]),
        ([0, 100], [0, 100]),
        ([5, 0], [100, 0]),
    ] {
        let portions = divide(&[level(0, up[0]), level(1, up[1])], USUAL);
        assert_eq!(percents(&portions), load, "{up:?}");
    }
    // the same with three levels
    for (up, load) in [
        ([100, 100, 100], [100, 0, 0]),
        ([25, 25, 100], [35, 35, 30]),
        ([25, 25, 20], [36, 36, 29]),
        ([0, 100, 100], [0, 100, 0]),
        ([0, 25, 100], [0, 35, 65]),
    ] {
        let levels = [level(0, up[0]), level(1, up[1]), level(2, up[2])];
        let portions = divide(&levels, USUAL);
        for (own, expected) in percents(&portions).iter().zip(load) {
            assert!(own.abs_diff(expected) <= 1, "{up:?}: {portions:?}");
        }
    }
}

#[test]
fn test_a_level_panics_only_while_the_others_cannot_take_what_it_cannot() {
    // "Panic threshold": healthy P=0 and P=1, then whether these are in panic, at a threshold of 50 %
    for (up, panics) in [
        ([72, 72], [false, false]),
        ([71, 71], [false, false]),
        ([50, 60], [false, false]),
        ([25, 100], [false, false]),
        ([25, 25], [true, true]),
        ([5, 65], [true, false]),
    ] {
        let portions = divide(&[level(0, up[0]), level(1, up[1])], USUAL);
        assert_eq!(
            portions.iter().map(|one| one.panics).collect::<Vec<_>>(),
            panics,
            "{up:?}"
        );
    }
    // alone, it has nobody else to ask
    for (up, panics) in [(50, false), (49, true), (0, false)] {
        assert_eq!(divide(&[level(0, up)], USUAL)[0].panics, panics, "{up}");
    }
}

#[test]
fn test_zones_of_a_level_share_what_it_gets() {
    let zone = |priority, is_away, all, up| {
        let rank = Rank {
            priority,
            is_away,
            is_backup: false,
        };
        (rank, tally(all, up))
    };
    for (own, other, expected) in [
        ((10, 10), (90, 90), [100, 0]),
        ((10, 8), (90, 0), [100, 0]),
        ((10, 5), (90, 90), [70, 30]),
        ((10, 1), (90, 9), [50, 50]),
        ((10, 0), (90, 90), [0, 100]),
        ((0, 0), (90, 90), [0, 100]),
        ((10, 1), (0, 0), [100, 0]),
    ] {
        let groups = [zone(0, false, own.0, own.1), zone(0, true, other.0, other.1)];
        let portions = divide(
            &groups,
            DivisionRule {
                panic_percent: 0,
                ..USUAL
            },
        );
        assert_eq!(percents(&portions), expected, "{own:?} {other:?}");
    }
    // half of a level is up: it gets 70 %, and its zones share these
    let groups = [
        zone(0, false, 50, 20),
        zone(0, true, 50, 30),
        zone(1, false, 10, 0),
        zone(1, true, 90, 90),
    ];
    assert_eq!(percents(&divide(&groups, USUAL)), [39, 31, 0, 30]);
}

#[test]
fn test_backups_get_nothing_while_any_other_is_in_rotation() {
    let backup = |up| {
        let rank = Rank {
            is_backup: true,
            ..Rank::default()
        };
        (rank, tally(100, up))
    };
    let quiet = DivisionRule {
        panic_percent: 0,
        ..USUAL
    };
    for (up, backup_up, expected) in [(1, 100, [100, 0]), (0, 1, [0, 100]), (0, 0, [100, 0])] {
        assert_eq!(
            percents(&divide(&[level(0, up), backup(backup_up)], quiet)),
            expected
        );
    }
}

#[test]
fn test_without_any_in_rotation_weights_decide_among_those_that_are_open() {
    let closed = Tally {
        open: 0,
        open_count: 0,
        ..tally(100, 0)
    };
    let groups = [
        level(0, 0),
        (level(1, 0).0, tally(300, 0)),
        (level(2, 0).0, closed),
    ];
    assert_eq!(percents(&divide(&groups, USUAL)), [25, 75, 0]);
    assert_eq!(percents(&divide(&[(level(0, 0).0, closed)], USUAL)), [0]);
    assert!(divide(&[], USUAL).is_empty());
}

proptest! {
    /// The text of Envoy's documentation, as it is written there, in floating point.
    #[test]
    fn test_levels_get_what_the_formula_says(
        levels in prop::collection::vec((1_u64..=4096, 0_u64..=4096), 1..6), factor_percent in 100_u32..300,
    ) {
        let rule = DivisionRule { factor_percent, panic_percent: 0 };
        let given: Vec<(Rank, Tally)> = (0..).zip(&levels)
            .map(|(priority, (all, up))| (level(priority, 0).0, tally(*all, *up.min(all))))
            .collect();
        let portions = divide(&given, rule);
        #[allow(clippy::cast_precision_loss)]
        let health = |tally: &Tally| (f64::from(factor_percent) * tally.up as f64 / tally.all as f64).min(100.0);
        let total = given.iter().map(|(_, tally)| health(tally)).sum::<f64>().min(100.0);
        prop_assume!(total > 0.0);
        let mut before = 0.0;
        for ((_, tally), portion) in given.iter().zip(&portions) {
            let load = (100.0_f64 - before).min(health(tally) * 100.0 / total);
            before += load;
            #[allow(clippy::cast_precision_loss)]
            let got = portion.share as f64 / 10_000.0;
            prop_assert!((got - load).abs() < 0.01, "{got} instead of {load}: {portions:?}");
        }
        prop_assert_eq!(portions.iter().map(|portion| portion.share).sum::<u64>(), WHOLE);
    }
}
