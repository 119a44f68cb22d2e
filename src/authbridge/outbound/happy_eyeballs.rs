//! Connection to whichever address of a name answers first (Happy Eyeballs, RFC 8305): addresses that are never answered
//! cost a quarter of a second each, not the time for the whole connection.

use crate::limits::DIAL_ADDRESSES;
use futures::stream::{FuturesUnordered, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// Order of the attempts (RFC 8305 §4): the families by turns, beginning with that of the first address, and in each the
/// order of the resolver (RFC 6724). At most [`DIAL_ADDRESSES`], each once.
pub(super) fn plan_attempts(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut planned = Vec::new();
    loop {
        let next = [first.next(), second.next()];
        if next == [None, None] {
            break;
        }
        for address in next.into_iter().flatten() {
            if !planned.contains(&address) && planned.len() < DIAL_ADDRESSES {
                planned.push(address);
            }
        }
    }
    planned
}

/// Result of the first attempt that succeeds, or of the last that fails. The next attempt begins when one fails, or has
/// taken `stagger` (RFC 8305 §5); those that are under way go on.
pub(super) async fn first_of<T, F>(
    planned: Vec<SocketAddr>,
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let (mut waiting, mut under_way) = (planned.into_iter(), FuturesUnordered::new());
    under_way.extend(waiting.next().map(&attempt));
    loop {
        let ended = tokio::select! {
            ended = under_way.next() => ended,
            () = sleep(stagger), if waiting.len() > 0 => {
                under_way.extend(waiting.next().map(&attempt));
                continue;
            }
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => {
                last = error;
                under_way.extend(waiting.next().map(&attempt));
            }
            None => return Err(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::time::timeout;

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 80)
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_resolver() {
        for (resolved, planned) in [
            (&[][..], &[][..]),
            (&["::1"], &["::1"]),
            (&["::1", "::2", "10.0.0.1", "10.0.0.2"], &["::1", "10.0.0.1", "::2", "10.0.0.2"]),
            (&["10.0.0.1", "::1", "::2", "::3"], &["10.0.0.1", "::1", "::2", "::3"]),
            (&["10.0.0.1", "10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]),
        ] {
            let addresses: Vec<SocketAddr> = resolved.iter().copied().map(at).collect();
            let expected: Vec<SocketAddr> = planned.iter().copied().map(at).collect();
            assert_eq!(plan_attempts(&addresses), expected);
        }
        let many: Vec<SocketAddr> = (0..100).map(|last| at(&format!("10.0.0.{last}"))).collect();
        assert_eq!(plan_attempts(&many), many[..DIAL_ADDRESSES]);
    }

    #[tokio::test]
    async fn the_first_that_answers_wins_whatever_the_others_do() {
        const STAGGER: Duration = Duration::from_millis(30);
        // What becomes of 10.0.0.1 to 10.0.0.3: answered, refused, or neither.
        for (fates, winner, tried) in [
            (["answers", "silent", "silent"], Some(1), 1),
            (["silent", "answers", "silent"], Some(2), 2),
            (["silent", "silent", "answers"], Some(3), 3),
            (["refused", "refused", "answers"], Some(3), 3),
            (["silent", "refused", "answers"], Some(3), 3),
            (["refused", "refused", "refused"], None, 3),
        ] {
            let started = Mutex::new(0);
            let attempt = |address: SocketAddr| {
                *started.lock().unwrap() += 1;
                let last = address.ip().to_string().pop().unwrap().to_digit(10).unwrap();
                let fate = fates[usize::try_from(last).unwrap() - 1];
                async move {
                    match fate {
                        "answers" => Ok(last),
                        "refused" => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                        _ => std::future::pending().await,
                    }
                }
            };
            let planned = vec![at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3")];
            let found = timeout(STAGGER * 10, first_of(planned, STAGGER, attempt)).await.expect("it hangs");
            assert_eq!(found.ok(), winner, "{fates:?}");
            assert_eq!(*started.lock().unwrap(), tried, "{fates:?}");
        }
        let none = first_of(Vec::new(), STAGGER, async |_| Ok::<(), _>(())).await;
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
