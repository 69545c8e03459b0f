use super::super::*;

fn balancer(balance: Balance, servers: usize) -> Balancer {
    Balancer::new(balance, vec![ServerSpec::default(); servers])
}

fn shares(balancer: &mut Balancer, now_ms: u64, servers: usize, picks: usize) -> Vec<usize> {
    let mut shares = vec![0; servers];
    for pick in 0..picks {
        let server = balancer.pick(now_ms, &pick.to_be_bytes(), &|_| 0, &Tried::new());
        shares[server.expect("one may be asked")] += 1;
    }
    shares
}

const DOWN: ServerStanding = ServerStanding {
    is_down: true,
    is_closed: false,
    keeps_sessions: false,
    share_percent: 100,
    ejected_until_ms: 0,
};

const WELL: ServerStanding = ServerStanding {
    is_down: false,
    ..DOWN
};

#[test]
fn test_who_is_down_or_ejected_is_left_out_and_comes_back() {
    for (count, way) in [(3, Balance::RoundRobin), (3, Balance::Hash), (100, Balance::P2c)] {
        let mut balancer = balancer(way, count);
        balancer.set_standing(0, DOWN, 0);
        balancer.set_standing(
            1,
            ServerStanding {
                ejected_until_ms: 1_000,
                ..WELL
            },
            0,
        );
        assert!(!balancer.is_available(0, 0) && !balancer.is_available(1, 0));
        let while_out = shares(&mut balancer, 0, count, 10 * count);
        assert_eq!((while_out[0], while_out[1]), (0, 0), "{way:?}");
        assert!(shares(&mut balancer, 1_000, count, 100 * count)[1] > 0, "{way:?}");
        balancer.set_standing(0, WELL, 1_000);
        assert!(shares(&mut balancer, 1_000, count, 100 * count)[0] > 0, "{way:?}");
    }
}

#[test]
fn test_all_that_are_down_are_asked_before_nobody_is_but_not_who_was_taken_out() {
    let mut balancer = balancer(Balance::RoundRobin, 2);
    balancer.set_standing(0, DOWN, 0);
    balancer.set_standing(
        1,
        ServerStanding {
            is_closed: true,
            ..WELL
        },
        0,
    );
    assert_eq!(shares(&mut balancer, 0, 2, 10), [10, 0]);
    balancer.set_standing(
        0,
        ServerStanding {
            is_closed: true,
            ..DOWN
        },
        0,
    );
    assert_eq!(balancer.pick(0, b"", &|_| 0, &Tried::new()), None);
}

#[test]
fn test_the_worse_of_check_and_ejection_wins() {
    let mut balancer = balancer(Balance::RoundRobin, 2);
    let both = ServerStanding {
        ejected_until_ms: 1_000,
        ..DOWN
    };
    balancer.set_standing(0, both, 0);
    assert!(
        !balancer.is_available(0, 2_000),
        "its ejection is over, and its checks fail"
    );
    balancer.set_standing(
        0,
        ServerStanding {
            is_down: false,
            ..both
        },
        500,
    );
    assert!(
        !balancer.is_available(0, 500),
        "its checks are well, and it is ejected"
    );
    assert!(balancer.is_available(0, 1_000));
}

#[test]
fn test_panic_threshold_asks_all_when_few_are_left() {
    for (percent, expected) in [
        (0, [30, 0, 0]),
        (33, [30, 0, 0]),
        (34, [10, 10, 10]),
        (50, [10, 10, 10]),
    ] {
        let mut balancer = balancer(Balance::RoundRobin, 3).with_panic_threshold(percent);
        balancer.set_standing(1, DOWN, 0);
        balancer.set_standing(2, DOWN, 0);
        assert_eq!(shares(&mut balancer, 0, 3, 30), expected, "{percent} %");
        balancer.set_standing(1, WELL, 0);
        assert_eq!(
            shares(&mut balancer, 0, 3, 30),
            [15, 15, 0],
            "two of three are enough for {percent} %"
        );
    }
}

#[test]
fn test_who_comes_back_starts_slowly() {
    for (count, way) in [
        (4, Balance::RoundRobin),
        (4, Balance::LeastConn),
        (4, Balance::P2c),
        (100, Balance::Random),
    ] {
        let mut balancer = balancer(way, count).with_slow_start(10_000);
        balancer.seed(3);
        balancer.set_standing(0, DOWN, 0);
        balancer.set_standing(0, WELL, 5_000);
        let fair = 1_000;
        // a tenth at first, then as much of its share as time has passed
        for (now_ms, least, most) in [
            (5_000, 50, 160),
            (10_000, 380, 640),
            (15_000, 900, 1_110),
            (90_000, 900, 1_110),
        ] {
            let share = shares(&mut balancer, now_ms, count, fair * count)[0];
            assert!((least..most).contains(&share), "{way:?} at {now_ms}: {share}");
        }
    }
}

#[test]
fn test_the_only_server_starts_slowly_but_serves() {
    let mut alone = balancer(Balance::RoundRobin, 1).with_slow_start(10_000);
    alone.joins(0, 1);
    assert_eq!(shares(&mut alone, 2, 1, 50), [50]);
    let backup = ServerSpec {
        backup: true,
        ..ServerSpec::default()
    };
    let mut balancer =
        Balancer::new(Balance::RoundRobin, vec![ServerSpec::default(), backup]).with_slow_start(10_000);
    balancer.joins(0, 1);
    assert_eq!(
        shares(&mut balancer, 2, 2, 50),
        [50, 0],
        "no backup stands in for a slow start"
    );
}

#[test]
fn test_an_agent_lowers_the_share() {
    let mut balancer = balancer(Balance::RoundRobin, 2);
    balancer.set_standing(
        0,
        ServerStanding {
            share_percent: 50,
            ..WELL
        },
        0,
    );
    let share = shares(&mut balancer, 0, 2, 6_000)[0];
    assert!(
        (1_300..1_700).contains(&share),
        "half of the time both take turns: {share}"
    );
    balancer.set_standing(
        0,
        ServerStanding {
            share_percent: 0,
            ..WELL
        },
        0,
    );
    assert_eq!(shares(&mut balancer, 0, 2, 100), [0, 100]);
}

#[test]
fn test_a_session_stays_with_its_server_unless_that_is_down_full_or_under_maintenance() {
    let free = |_: usize| 0;
    let drained = ServerStanding {
        is_closed: true,
        keeps_sessions: true,
        ..WELL
    };
    let maintained = ServerStanding {
        keeps_sessions: false,
        ..drained
    };
    let ejected = ServerStanding {
        ejected_until_ms: 1_000,
        ..WELL
    };
    let drained_and_down = ServerStanding {
        is_down: true,
        ..drained
    };
    for (standing, goes_on) in [
        (WELL, true),
        (drained, true),
        (DOWN, false),
        (maintained, false),
        (ejected, false),
        (drained_and_down, false),
    ] {
        let mut balancer = balancer(Balance::RoundRobin, 2);
        balancer.set_standing(0, standing, 0);
        assert_eq!(balancer.resumes(0, None, 0, &free), goes_on, "{standing:?}");
        // where no other is up either, a new choice would be no better; what an operator has said holds
        balancer.set_standing(1, DOWN, 0);
        let may_be_asked = !standing.is_closed || standing.keeps_sessions;
        assert_eq!(balancer.resumes(0, None, 0, &free), may_be_asked, "{standing:?}");
    }
    assert!(
        !balancer(Balance::First, 2).resumes(2, None, 0, &free),
        "which is none of them"
    );
    let bounded = ServerSpec {
        max_connections: 5,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::RoundRobin, vec![bounded; 2]);
    assert!(balancer.resumes(0, None, 0, &|_| 4) && !balancer.resumes(0, None, 0, &|_| 5));
}

#[test]
fn test_a_session_leaves_a_server_that_fails_and_may_be_what_tries_it_again() {
    let free = |_: usize| 0;
    let mut balancer = balancer(Balance::RoundRobin, 2);
    assert!(balancer.failed(0, 0));
    assert!(!balancer.resumes(0, None, 10_000, &free));
    assert!(balancer.resumes(0, None, 10_001, &free), "its time is over");
    assert!(
        !balancer.resumes(0, None, 10_002, &free),
        "while one tries it, no other does"
    );
    balancer.succeeded(0, 10_003);
    assert!(balancer.resumes(0, None, 10_004, &free));
}
