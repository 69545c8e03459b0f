use super::*;

const SPEC: AdaptiveSpec = AdaptiveSpec {
    min: 3,
    max: 1_000,
    initial: 20,
};

/// Servers that do so many requests at once in a time, and queue what is more.
#[derive(Clone, Copy)]
struct Servers {
    at_once: u32,
    took_us: u64,
}

impl Servers {
    fn median_us(self, in_flight: u32) -> u64 {
        self.took_us * u64::from(in_flight.max(self.at_once)) / u64::from(self.at_once)
    }

    /// The state after so many windows in which as many requests as allowed are there.
    fn run(self, mut state: AdaptiveState, windows: u32, wanted: u32) -> AdaptiveState {
        for _ in 0..windows {
            let in_flight = state.limit(&SPEC).min(wanted);
            state = state.after(&SPEC, self.median_us(in_flight), in_flight);
        }
        state
    }
}

fn start() -> AdaptiveState {
    AdaptiveState::new(&SPEC)
}

const ALL: u32 = u32::MAX;

#[test]
fn the_limit_settles_a_little_above_what_servers_do_at_once() {
    for at_once in [5, 20, 50, 200] {
        let servers = Servers {
            at_once,
            took_us: 10_000,
        };
        let limit = servers.run(start(), 250, ALL).limit(&SPEC);
        assert!((at_once..=at_once * 2 + 4).contains(&limit), "{at_once}: {limit}");
    }
}

#[test]
fn it_falls_when_latency_grows_and_rises_again() {
    let well = Servers {
        at_once: 100,
        took_us: 10_000,
    };
    let slow = Servers { at_once: 10, ..well };
    let state = well.run(start(), 200, ALL);
    let before = state.limit(&SPEC);
    let state = slow.run(state, 50, ALL);
    let during = state.limit(&SPEC);
    assert!((10..=24).contains(&during), "{before} {during}");
    let after = well.run(state, 100, ALL).limit(&SPEC);
    assert!(after * 10 >= before * 8, "{before} {during} {after}");
}

#[test]
fn a_base_that_was_measured_in_an_overload_is_corrected() {
    let servers = Servers {
        at_once: 20,
        took_us: 10_000,
    };
    let mut state = start();
    state.limit = 800.0;
    // from the first window on requests take forty times as long as they would
    let state = servers.run(state, 10, ALL);
    assert!(state.base_us > 300_000.0);
    let state = servers.run(state, 12 * (PROBE_EVERY + PROBE_WINDOWS), ALL);
    let limit = state.limit(&SPEC);
    assert!((20..=80).contains(&limit), "{limit} {state:?}");
}

#[test]
fn servers_that_are_slower_for_good_are_not_held_down() {
    let before = Servers {
        at_once: 50,
        took_us: 10_000,
    };
    let state = before.run(start(), 200, ALL);
    let after = Servers {
        took_us: 100_000,
        ..before
    };
    let state = after.run(state, 3 * PROBE_EVERY, ALL);
    let limit = state.limit(&SPEC);
    assert!((40..=110).contains(&limit), "{limit} {state:?}");
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let servers = Servers {
        at_once: 1_000,
        took_us: 10_000,
    };
    let state = servers.run(start(), 500, 2);
    assert!(state.limit(&SPEC) <= 20);
}

#[test]
fn its_bounds_hold_whatever_comes() {
    let mut state = start();
    for window in 0..2_000_u64 {
        let median_us = (window * 2_654_435_761) % 10_000_000;
        state = state.after(&SPEC, median_us, 1_000);
        let limit = state.limit(&SPEC);
        assert!((SPEC.min..=SPEC.max).contains(&limit), "{limit}");
        let unpacked = AdaptiveState::unpack(state.pack()).expect("it was packed");
        assert!(
            (unpacked.limit - state.limit).abs() < 0.01,
            "{unpacked:?} {state:?}"
        );
        assert_eq!(
            (unpacked.windows, unpacked.at_minimum),
            (state.windows, state.at_minimum)
        );
    }
    assert_eq!(AdaptiveState::unpack([0, 0]), None);
}

#[test]
fn a_window_ends_with_enough_times_and_has_their_median() {
    let mut window = TimesWindow::default();
    for at in 0..20 {
        assert_eq!(window.add(0, 1_000 + at), None, "it is not over");
    }
    let median = window.add(WINDOW_MS, 1_000).expect("it is over");
    assert!((1_000..=1_300).contains(&median), "{median}");
    for _ in 1..MIN_TIMES {
        assert_eq!(window.add(10_000, 1_000), None, "there are too few");
    }
    assert!(window.add(20_000, 1_000).is_some());
}
