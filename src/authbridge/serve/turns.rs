//! Turns at work that keeps the core for long: one at a time, peer after peer, and between two of them whatever else is
//! ready has its turn. Who asks for much waits in a line of its own.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// Lines of those who wait for a turn, by peer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    is_taken: bool,
    /// Peers with a line, in the order of their next turns.
    order: VecDeque<IpAddr>,
    waiting: BTreeMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
}

impl Lines {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let peer = self.order.pop_front()?;
        let line = self.waiting.get_mut(&peer)?;
        let next = line.pop_front();
        if line.is_empty() {
            self.waiting.remove(&peer);
        } else {
            self.order.push_back(peer);
        }
        next
    }

    fn wait(&mut self, peer: IpAddr) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        let line = self.waiting.entry(peer).or_default();
        if line.is_empty() {
            self.order.push_back(peer);
        }
        line.push_back(sender);
        receiver
    }
}

/// The turn of one peer, passed on when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Turns>);

impl Turns {
    fn with<T>(&self, work: impl FnOnce(&mut Lines) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next turn of `peer`. Whoever has it lets others go first.
    pub(super) async fn turn(&self, peer: IpAddr) -> Turn {
        let waiting = self.with(|lines| {
            let is_taken = std::mem::replace(&mut lines.is_taken, true);
            is_taken.then(|| lines.wait(peer))
        });
        let turn = Turn(Some(self.clone()));
        match waiting {
            None => turn,
            // A line is only dropped by giving out its turns.
            Some(waiting) => {
                turn.forget();
                waiting.await.unwrap_or(Turn(None))
            }
        }
    }

    fn pass_on(self) {
        let mut turn = Turn(Some(self.clone()));
        while let Some(next) = self.with(|lines| {
            let next = lines.next();
            lines.is_taken = next.is_some();
            next
        }) {
            match next.send(turn) {
                Ok(()) => return,
                // Whoever waited has left.
                Err(back) => turn = back,
            }
        }
        turn.forget();
    }

    /// Does `work` for `peer`, each of its steps in a turn. No turn is held while it waits for something else.
    pub(crate) async fn take<F: Future>(&self, peer: IpAddr, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = self.turn(peer).await;
            // Everybody who is ready goes first, and the kernel is asked who is.
            yield_now().await;
            let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            drop(turn);
            if let Poll::Ready(done) = step {
                return done;
            }
            // Until the task is woken for the next step.
            let mut was_polled = false;
            poll_fn(
                |_| if std::mem::replace(&mut was_polled, true) { Poll::Ready(()) } else { Poll::Pending },
            )
            .await;
        }
    }
}

impl Turn {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[tokio::test]
    async fn peers_have_turns_one_after_the_other_however_many_each_waits_for() {
        let (turns, order) = (Turns::default(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        let held = turns.turn(peer(9)).await;
        for number in [1, 1, 1, 1, 2, 2, 3] {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                turns.take(peer(number), async { order.lock().unwrap().push(number) }).await;
            });
        }
        yield_now().await;
        assert!(order.lock().unwrap().is_empty(), "one turn at a time");
        drop(held);
        tasks.join_all().await;
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 1, 2, 1, 1]);
        assert!(turns.turn(peer(1)).now_or_never().is_some(), "the last one gave it back");
    }

    #[tokio::test]
    async fn who_leaves_or_waits_for_something_else_holds_up_nobody() {
        let turns = Turns::default();
        let mut silent = Box::pin(turns.take(peer(1), std::future::pending::<()>()));
        // It lets others go first, does its step, and waits.
        for _ in 0..2 {
            assert!(silent.as_mut().now_or_never().is_none());
            yield_now().await;
        }
        let held = turns.turn(peer(2)).now_or_never().unwrap();
        let mut left: Vec<_> = (0..1000).map(|_| Box::pin(turns.turn(peer(1)))).collect();
        let mut stays = Box::pin(turns.turn(peer(1)));
        for one in &mut left {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert!(stays.as_mut().now_or_never().is_none());
        drop(left.split_off(1));
        drop(held);
        // It was given the turn and leaves with it.
        drop(left);
        drop(stays.now_or_never().unwrap());
        assert!(turns.turn(peer(3)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_is_ready_runs_between_two_turns() {
        let (turns, order) = (Turns::default(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..3 {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                turns.take(peer(1), async { order.lock().unwrap().push(number) }).await;
            });
        }
        let other = Arc::clone(&order);
        tasks.spawn(async move {
            for _ in 0..3 {
                other.lock().unwrap().push(9);
                yield_now().await;
            }
        });
        tasks.join_all().await;
        let order = order.lock().unwrap();
        assert!(order.windows(2).all(|pair| pair.contains(&9)) || order.ends_with(&[2]), "{order:?}");
    }
}
