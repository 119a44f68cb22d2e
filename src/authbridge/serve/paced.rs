//! Permission for what costs the core much and is done for the peer that asks alone: at a limited rate for each peer, and
//! for whoever of the peer asked last. Under a flood, who asked long ago is gone or not honest, and an honest caller behind the
//! same address has just come.

use super::pace::Pace;
use crate::limits::UNSEARCHED_LINE;
use crate::pending::millis;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Time after which the line of a peer that is empty is looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Lines of peers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Paced(Arc<Mutex<BTreeMap<IpAddr, Line>>>);

#[derive(Debug, Default)]
struct Line {
    pace: Pace,
    /// Who came last is served first.
    waiting: Vec<oneshot::Sender<()>>,
    /// How many there were when those that had left were last forgotten.
    swept: usize,
}

/// What comes next in a line.
enum Next {
    Wait(Duration),
    Over,
}

impl Line {
    /// Adds one that waits. Those at the bottom may never be reached while a flood lasts, so whoever has left is forgotten
    /// here, at a constant cost for each arrival.
    fn push(&mut self, sender: oneshot::Sender<()>) {
        self.waiting.push(sender);
        if self.waiting.len() > self.swept.saturating_mul(2).max(UNSEARCHED_LINE) {
            self.waiting.retain(|one| !one.is_closed());
            self.swept = self.waiting.len();
        }
    }

    /// Lets as many pass as the rate allows.
    fn serve(&mut self, now: u64) -> Next {
        while self.pace.wait(now).is_zero() {
            match self.waiting.pop() {
                // Whoever has left meanwhile takes nothing of the rate.
                Some(last) => {
                    if last.send(()).is_ok() {
                        self.pace.take(now);
                    }
                }
                None if self.pace.is_full(now) => return Next::Over,
                None => return Next::Wait(LOOK),
            }
        }
        Next::Wait(self.pace.wait(now))
    }
}

impl Paced {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<IpAddr, Line>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the permission of `peer`.
    pub(super) async fn pass(&self, peer: IpAddr) {
        let now = millis();
        let (waits, is_new) = self.with(|lines| {
            let is_new = !lines.contains_key(&peer);
            let line = lines.entry(peer).or_default();
            if line.waiting.is_empty() && line.pace.wait(now).is_zero() {
                line.pace.take(now);
                return (None, is_new);
            }
            let (sender, receiver) = oneshot::channel();
            line.push(sender);
            (Some(receiver), is_new)
        });
        if is_new {
            tokio::spawn(self.clone().drive(peer));
        }
        if let Some(waits) = waits {
            // A line is dropped only when nobody waits in it.
            let _ = waits.await;
        }
    }

    /// Serves the line of `peer` until nobody waits and its whole rate is there again.
    async fn drive(self, peer: IpAddr) {
        loop {
            let next = self.with(|lines| {
                let next = lines.get_mut(&peer).map_or(Next::Over, |line| line.serve(millis()));
                if matches!(next, Next::Over) {
                    lines.remove(&peer);
                }
                next
            });
            match next {
                Next::Wait(left) => sleep(left).await,
                Next::Over => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPLACED_AT_ONCE;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_flood_waits_at_a_rate_and_who_came_last_goes_first() {
        let (paced, flood, other) =
            (Paced::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..REPLACED_AT_ONCE {
            paced.pass(flood).await;
        }
        let mut waiting: Vec<_> = (0..5000).map(|_| Box::pin(paced.pass(flood))).collect();
        let waits = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).count();
        assert!(waits < 1000, "{waits} pass at once");
        assert!(paced.pass(other).now_or_never().is_some(), "another peer does not wait");
        let began = millis();
        paced.pass(flood).await;
        assert!(millis() - began < 2000, "{} ms", millis() - began);
        drop(waiting);
        paced.pass(flood).await;
    }

    #[tokio::test]
    async fn who_has_left_is_forgotten_while_others_come() {
        let (paced, peer) = (Paced::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..REPLACED_AT_ONCE {
            paced.pass(peer).await;
        }
        // One that stays in the line, so that everybody after it waits.
        while Box::pin(paced.pass(peer)).now_or_never().is_some() {}
        // Nobody is served meanwhile, because the test does not yield.
        let mut live = Vec::new();
        for _ in 0..1000 {
            for _ in 0..20 {
                assert!(Box::pin(paced.pass(peer)).now_or_never().is_none());
            }
            let mut one = Box::pin(paced.pass(peer));
            assert!(one.as_mut().now_or_never().is_none());
            live.push(one);
        }
        let kept = paced.with(|lines| lines.get(&peer).map_or(0, |line| line.waiting.len()));
        assert!(
            (live.len()..=2 * live.len() + UNSEARCHED_LINE).contains(&kept),
            "{kept} of {} wait",
            live.len()
        );
    }

    #[tokio::test]
    async fn lines_of_peers_that_are_quiet_are_forgotten() {
        let paced = Paced::default();
        paced.pass(IpAddr::from([10, 0, 0, 1])).await;
        for _ in 0..100 {
            if paced.with(|lines| lines.is_empty()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("it stays");
    }
}
