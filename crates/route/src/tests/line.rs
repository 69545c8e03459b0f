use super::*;

const SHEDDING: LineSpec = LineSpec {
    target_ms: Some(5),
    interval_ms: 100,
    is_fair: false,
};

fn serve(line: &mut Line, now_ms: u64) -> Option<Ticket> {
    let next = line.next(now_ms)?;
    line.leave(next, true, now_ms);
    Some(next)
}

#[test]
fn test_who_comes_first_goes_first_and_waits_as_long_as_it_likes() {
    let mut line = Line::new(LineSpec::default());
    let tickets: Vec<_> = (0..5).map(|at| line.enter(at, at * 1000)).collect();
    assert!(tickets.iter().all(|(_, limit_ms)| limit_ms.is_none()));
    line.leave(tickets[1].0, false, 6000);
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut line, 7000)).collect();
    assert_eq!(served, [tickets[0].0, tickets[2].0, tickets[3].0, tickets[4].0]);
    assert!(line.is_empty());
}

#[test]
fn test_a_line_that_stands_for_an_interval_sheds_and_serves_the_newest_first() {
    let mut line = Line::new(SHEDDING);
    let (first, limit_ms) = line.enter(0, 1000);
    assert_eq!(limit_ms, Some(100));
    assert_eq!(
        line.enter(0, 1100).1,
        Some(100),
        "it stands for no more than an interval"
    );
    let (newest, limit_ms) = line.enter(0, 1101);
    assert_eq!(limit_ms, Some(5));
    assert_eq!(line.next(1101), Some(newest));
    assert_ne!(line.after(newest, 1101), Some(first), "the second newest is next");
    while serve(&mut line, 1102).is_some() {}
    let (_, limit_ms) = line.enter(0, 1103);
    assert_eq!(limit_ms, Some(100), "it was empty in between");
    assert_eq!(line.enter(0, 5000).1, Some(5));
}

#[test]
fn test_a_line_that_empties_now_and_then_is_not_overloaded() {
    let mut line = Line::new(SHEDDING);
    for burst in 0..100 {
        let now_ms = burst * 50;
        assert_eq!(line.enter(0, now_ms).1, Some(100));
        assert_eq!(line.enter(0, now_ms + 1).1, Some(100));
        while serve(&mut line, now_ms + 40).is_some() {}
    }
}

#[test]
fn test_a_client_with_many_does_not_hold_up_one_with_few() {
    let mut line = Line::new(LineSpec {
        is_fair: true,
        ..LineSpec::default()
    });
    let greedy: Vec<_> = (0..1000).map(|_| line.enter(1, 0).0).collect();
    for ticket in &greedy[..500] {
        assert_eq!(serve(&mut line, 1), Some(*ticket));
    }
    let modest = [line.enter(2, 2).0, line.enter(2, 2).0, line.enter(3, 2).0];
    let served: Vec<_> = (0..6).filter_map(|_| serve(&mut line, 3)).collect();
    for ticket in modest {
        assert!(served.contains(&ticket), "{served:?}");
    }
    // a client that has just been served gains nothing by coming again
    let again = line.enter(2, 4).0;
    assert!(line.next(4).is_some_and(|next| next < again));
    assert_eq!(line.clients.len(), 2);
    while serve(&mut line, 5).is_some() {}
    assert!(line.clients.is_empty());
}

#[test]
fn test_a_turn_that_is_of_no_use_goes_to_the_one_behind() {
    let mut line = Line::new(LineSpec::default());
    let (first, second) = (line.enter(0, 0).0, line.enter(0, 0).0);
    assert_eq!(line.after(first, 0), Some(second));
    assert_eq!(line.after(second, 0), None);
}
