//! Connecting to a name that has several addresses, of which some may not work (Happy Eyeballs, RFC 8305).
//!
//! # How it works
//! Addresses are tried in an order that alternates between the families, each as soon as the one before has failed, or has
//! not connected for a while; the first connection wins, and the others are given up. Where the other family than the first
//! one has won, it goes first for some minutes, so that a family that does not work is not waited for at each connection.

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// How long an address has until the next one is tried as well (RFC 8305 section 8: Connection Attempt Delay).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// For how long a family that has won goes first, in milliseconds.
const REMEMBERED_MS: u64 = 600_000;

/// Which family goes first, and whose turn it is within each.
#[derive(Debug, Default)]
pub struct Preference {
    /// Whether IPv4 has won, and until when that counts.
    won: Cell<Option<(bool, u64)>>,
    turn: Cell<usize>,
}

impl Preference {
    /// The addresses in the order in which they are tried: those of each family in turn from call to call, the families
    /// alternating, that of the first address first unless the other one has won lately (RFC 8305 section 4).
    pub fn order(&self, addresses: &[SocketAddr], now_ms: u64) -> Vec<SocketAddr> {
        let Some(first) = addresses.first() else {
            return Vec::new();
        };
        let won = self.won.get().filter(|(_, until_ms)| *until_ms > now_ms);
        let is_v4_first = won.map_or_else(|| first.is_ipv4(), |(is_v4, _)| is_v4);
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let family = |is_v4: bool| {
            let mut of: Vec<_> = addresses.iter().filter(|one| one.is_ipv4() == is_v4).collect();
            let places = of.len().max(1);
            of.rotate_left(turn % places);
            of.into_iter()
        };
        let (mut preferred, mut other) = (family(is_v4_first), family(!is_v4_first));
        let mut ordered = Vec::with_capacity(addresses.len());
        while ordered.len() < addresses.len() {
            ordered.extend(preferred.next());
            ordered.extend(other.next());
        }
        ordered
    }

    /// One of the addresses, the next at each call.
    pub fn one(&self, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        turn.checked_rem(addresses.len()).map(|at| addresses[at])
    }

    /// Connects to one of the addresses.
    ///
    /// # Errors
    /// Why the last one that failed did; without an address, [`io::ErrorKind::NotFound`].
    pub async fn connect<T, F: Future<Output = io::Result<T>>>(
        &self,
        addresses: &[SocketAddr],
        now_ms: u64,
        connect: impl Fn(SocketAddr) -> F,
    ) -> io::Result<T> {
        let ordered = self.order(addresses, now_ms);
        if let [only] = ordered[..] {
            return connect(only).await;
        }
        let (at, connected) = race(&ordered, ATTEMPT_DELAY, connect).await?;
        if ordered[at].is_ipv4() != ordered[0].is_ipv4() {
            self.won
                .set(Some((ordered[at].is_ipv4(), now_ms + REMEMBERED_MS)));
        }
        Ok(connected)
    }
}

/// Tries addresses in this order until one connects; its position.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    delay: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<(usize, T)> {
    let mut waiting = addresses.iter().copied().enumerate();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut last = io::ErrorKind::NotFound.into();
    let mut due = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|context| loop {
        let before = running.len();
        let mut at = 0;
        while at < running.len() {
            match running[at].1.as_mut().poll(context) {
                Poll::Ready(Ok(connected)) => return Poll::Ready(Ok((running[at].0, connected))),
                Poll::Ready(Err(error)) => {
                    last = error;
                    drop(running.remove(at));
                }
                Poll::Pending => at += 1,
            }
        }
        let has_failed = running.len() < before;
        if !has_failed
            && !running.is_empty()
            && (waiting.len() == 0 || due.as_mut().poll(context).is_pending())
        {
            return Poll::Pending;
        }
        match waiting.next() {
            Some((at, address)) => running.push((at, Box::pin(connect(address)))),
            None if running.is_empty() => {
                let error = std::mem::replace(&mut last, io::ErrorKind::NotFound.into());
                return Poll::Ready(Err(error));
            }
            None => return Poll::Pending,
        }
        due.as_mut().reset(Instant::now() + delay);
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Addresses `v6` and `v4` by their last part.
    fn address(text: &str) -> SocketAddr {
        let (family, number) = text.split_once('-').expect("a family and a number");
        let ip = match family {
            "v4" => format!("192.0.2.{number}:80"),
            _ => format!("[2001:db8::{number}]:80"),
        };
        ip.parse().expect("it is an address")
    }

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(address).collect()
    }

    /// So long that a test which waits for it does not end.
    const NEVER: Duration = Duration::from_secs(3_600);

    /// What becomes of connections, by address: `ok`, `refused` or `hangs`; and which were begun.
    struct Network {
        fates: Vec<(SocketAddr, &'static str)>,
        begun: RefCell<Vec<SocketAddr>>,
    }

    impl Network {
        fn new(fates: &[(&str, &'static str)]) -> Self {
            Self {
                fates: fates.iter().map(|(name, fate)| (address(name), *fate)).collect(),
                begun: RefCell::default(),
            }
        }

        fn addresses(&self) -> Vec<SocketAddr> {
            self.fates.iter().map(|(one, _)| *one).collect()
        }

        async fn connect(&self, to: SocketAddr) -> io::Result<SocketAddr> {
            self.begun.borrow_mut().push(to);
            let fate = self.fates.iter().find(|(one, _)| *one == to);
            match fate.expect("it is one of them").1 {
                "ok" => Ok(to),
                "refused" => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => std::future::pending().await,
            }
        }

        /// Which address has won, and all that were begun.
        async fn race(&self, delay: Duration) -> (io::Result<SocketAddr>, Vec<SocketAddr>) {
            let won = race(&self.addresses(), delay, |to| self.connect(to)).await;
            (won.map(|(_, connected)| connected), self.begun.take())
        }
    }

    #[test]
    fn families_alternate_and_addresses_take_turns() {
        let preference = Preference::default();
        let all = addresses("v6-1 v6-2 v6-3 v4-1 v4-2");
        assert_eq!(preference.order(&all, 0), addresses("v6-1 v4-1 v6-2 v4-2 v6-3"));
        assert_eq!(preference.order(&all, 0), addresses("v6-2 v4-2 v6-3 v4-1 v6-1"));
        assert_eq!(preference.order(&[], 0), []);
        let one_family = addresses("v4-1 v4-2");
        let firsts: Vec<_> = (0..4).map(|_| preference.order(&one_family, 0)[0]).collect();
        assert_eq!(firsts, addresses("v4-1 v4-2 v4-1 v4-2"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_black_hole_costs_one_delay_and_later_nothing() {
        let network = Network::new(&[("v6-1", "hangs"), ("v4-1", "ok")]);
        let preference = Preference::default();
        let mut begun = Vec::new();
        for now_ms in [0, 1, REMEMBERED_MS] {
            let all = network.addresses();
            let won = preference.connect(&all, now_ms, |to| network.connect(to)).await;
            assert_eq!(won.ok(), Some(address("v4-1")));
            begun.push(network.begun.take());
        }
        let both = addresses("v6-1 v4-1");
        assert_eq!(
            begun,
            [both.clone(), addresses("v4-1"), both],
            "remembered, not for ever"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_that_refuses_is_followed_at_once() {
        let network = Network::new(&[
            ("v6-1", "refused"),
            ("v4-1", "refused"),
            ("v6-2", "ok"),
            ("v4-2", "ok"),
        ]);
        let (won, begun) = network.race(NEVER).await;
        assert_eq!(won.ok(), Some(address("v6-2")));
        assert_eq!(begun, addresses("v6-1 v4-1 v6-2"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn where_all_refuse_the_last_one_says_why() {
        let network = Network::new(&[("v6-1", "refused"), ("v4-1", "refused")]);
        let (won, begun) = network.race(NEVER).await;
        let kind = won.err().map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(begun.len(), 2);
        let (won, _) = Network::new(&[]).race(NEVER).await;
        assert_eq!(won.err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_fails_does_not_end_the_race() {
        let network = Network::new(&[
            ("v6-1", "hangs"),
            ("v4-1", "refused"),
            ("v6-2", "hangs"),
            ("v4-2", "ok"),
        ]);
        let (won, begun) = network.race(Duration::from_millis(1)).await;
        assert_eq!(won.ok(), Some(address("v4-2")));
        assert_eq!(begun, addresses("v6-1 v4-1 v6-2 v4-2"));
    }
}
