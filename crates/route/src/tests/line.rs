use super::*;

const SHEDDING: LineSpec = LineSpec {
    target_ms: Some(5),
    interval_ms: 100,
    is_fair: false,
    has_levels: false,
};

fn serve(line: &mut Line, now_ms: u64) -> Option<Ticket> {
    let next = line.next(now_ms)?;
    line.leave(next, true, now_ms);
    Some(next)
}

#[test]
fn test_who_comes_first_goes_first_and_waits_as_long_as_it_likes() {
    let mut line = Line::new(LineSpec::default());
    let tickets: Vec<_> = (0..5).map(|at| line.enter(at, 3, at * 1000)).collect();
    assert!(tickets.iter().all(|(_, limit_ms)| limit_ms.is_none()));
    line.leave(tickets[1].0, false, 6000);
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut line, 7000)).collect();
    assert_eq!(served, [tickets[0].0, tickets[2].0, tickets[3].0, tickets[4].0]);
    assert!(line.is_empty());
}

#[test]
fn test_a_line_that_stands_for_an_interval_sheds_and_serves_the_newest_first() {
    let mut line = Line::new(SHEDDING);
    let (first, limit_ms) = line.enter(0, 3, 1000);
    assert_eq!(limit_ms, Some(100));
    assert_eq!(
        line.enter(0, 3, 1100).1,
        Some(100),
        "it stands for no more than an interval"
    );
    let (newest, limit_ms) = line.enter(0, 3, 1101);
    assert_eq!(limit_ms, Some(5));
    assert_eq!(line.next(1101), Some(newest));
    assert_ne!(line.after(newest, 1101), Some(first), "the second newest is next");
    while serve(&mut line, 1102).is_some() {}
    let (_, limit_ms) = line.enter(0, 3, 1103);
    assert_eq!(limit_ms, Some(100), "it was empty in between");
    assert_eq!(line.enter(0, 3, 5000).1, Some(5));
}

#[test]
fn test_a_line_that_empties_now_and_then_is_not_overloaded() {
    let mut line = Line::new(SHEDDING);
    for burst in 0..100 {
        let now_ms = burst * 50;
        assert_eq!(line.enter(0, 3, now_ms).1, Some(100));
        assert_eq!(line.enter(0, 3, now_ms + 1).1, Some(100));
        while serve(&mut line, now_ms + 40).is_some() {}
    }
}

#[test]
fn test_a_client_with_many_does_not_hold_up_one_with_few() {
    let mut line = Line::new(LineSpec {
        is_fair: true,
        ..LineSpec::default()
    });
    let greedy: Vec<_> = (0..1000).map(|_| line.enter(1, 3, 0).0).collect();
    for ticket in &greedy[..500] {
        assert_eq!(serve(&mut line, 1), Some(*ticket));
    }
    let modest = [
        line.enter(2, 3, 2).0,
        line.enter(2, 3, 2).0,
        line.enter(3, 3, 2).0,
    ];
    let served: Vec<_> = (0..6).filter_map(|_| serve(&mut line, 3)).collect();
    for ticket in modest {
        assert!(served.contains(&ticket), "{served:?}");
    }
    // a client that has just been served gains nothing by coming again
    let again = line.enter(2, 3, 4).0;
    assert!(line.next(4).is_some_and(|next| next < again));
    assert_eq!(line.flows.len(), 2);
    while serve(&mut line, 5).is_some() {}
    assert!(line.flows.is_empty());
}

#[test]
fn test_a_turn_that_is_of_no_use_goes_to_the_one_behind() {
    let mut line = Line::new(LineSpec::default());
    let (first, second) = (line.enter(0, 3, 0).0, line.enter(0, 3, 0).0);
    assert_eq!(line.after(first, 0), Some(second));
    assert_eq!(line.after(second, 0), None);
}

const URGENT: LineSpec = LineSpec {
    target_ms: None,
    interval_ms: 0,
    is_fair: false,
    has_levels: true,
};

#[test]
fn test_more_urgent_requests_overtake_and_those_of_a_level_keep_their_order() {
    let mut line = Line::new(URGENT);
    let late: Vec<_> = (0..3).map(|at| line.enter(at, 7, 0).0).collect();
    let usual: Vec<_> = (0..3).map(|at| line.enter(at, 3, 0).0).collect();
    let urgent: Vec<_> = (0..3).map(|at| line.enter(at, 0, 0).0).collect();
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut line, 1)).collect();
    assert_eq!(served, [urgent, usual, late].concat());
    let (beyond, last) = (line.enter(0, 200, 2).0, line.enter(0, LAST_LEVEL, 2).0);
    assert_eq!(line.next(2), Some(beyond), "it is of the last level");
    assert_eq!(line.after(beyond, 2), Some(last));
}

#[test]
fn test_a_level_gets_half_of_what_the_one_before_it_gets_and_none_starves() {
    let mut line = Line::new(URGENT);
    let mut counts = [0_u32; 8];
    let mut of = HashMap::new();
    for level in 0..=LAST_LEVEL {
        of.insert(line.enter(0, level, 0).0, level);
    }
    // each that is served comes again at once, so that all levels always wait
    for _ in 0..255 * 4 {
        let served = serve(&mut line, 1).expect("all wait");
        let level = of[&served];
        counts[usize::from(level)] += 1;
        of.insert(line.enter(0, level, 1).0, level);
    }
    for level in 1..counts.len() {
        let expected = 512 >> level;
        assert!(counts[level].abs_diff(expected) <= 4, "{counts:?}");
    }
    assert!(counts[7] >= 3, "{counts:?}");
}

#[test]
fn test_an_urgent_client_with_many_does_not_hold_up_one_as_urgent() {
    let mut line = Line::new(LineSpec {
        is_fair: true,
        ..URGENT
    });
    for _ in 0..100 {
        line.enter(1, 0, 0);
    }
    let modest = line.enter(2, 0, 0).0;
    let served: Vec<_> = (0..2).filter_map(|_| serve(&mut line, 1)).collect();
    assert!(served.contains(&modest));
}
