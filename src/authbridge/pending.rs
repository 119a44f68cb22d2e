//! What a connection still has to do: requests under way, since when there are none, and the memory that it is read with.

use countersign_io::clock::instant;
use futures::task::AtomicWaker;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Number of requests and bodies that a connection still has to finish, and for how long it has had none.
#[derive(Debug)]
pub(super) struct Pending {
    /// A [`Work`].
    work: AtomicU64,
    half_read: Arc<HalfRead>,
    /// When the last ticket was given back, in milliseconds of [`millis`]. It only grows.
    idle_since: AtomicU64,
    /// When bytes last came that memory was asked for, in milliseconds of [`millis`]. It only grows.
    came: AtomicU64,
    /// Since when the other end has not taken the rest of an answer, in milliseconds of [`millis`]; 0 if it has.
    stalled_since: AtomicU64,
    /// Woken when the last ticket is given back: the task of the connection.
    idle: AtomicWaker,
    /// Woken then as well: whoever chooses among connections.
    chooser: AtomicWaker,
}

/// Tickets and units of memory of one connection. In one word, so that every change counts what is half read exactly.
#[derive(Clone, Copy, Debug)]
struct Work(u64);

impl Work {
    const TICKET: u64 = 0x1_0000_0000;
    /// Set once the connection is to end: what it is read with is then as good as given back.
    const GONE: u64 = 0x8000_0000;

    const fn is_idle(self) -> bool {
        self.0 < Self::TICKET
    }

    const fn units(self) -> u64 {
        self.0 & (Self::GONE - 1)
    }

    /// Units of a connection that has neither a request under way nor ended.
    const fn half_read(self) -> u64 {
        if self.0 < Self::GONE { self.0 } else { 0 }
    }
}

/// Units of memory of connections that are being read and have no request under way: all of a listener, or those of one peer.
#[derive(Debug, Default)]
pub(super) struct HalfRead {
    units: AtomicU64,
    all: Option<Arc<Self>>,
}

impl HalfRead {
    /// None yet; what comes is counted in `all`, too.
    pub(super) fn part_of(all: &Arc<Self>) -> Self {
        Self { units: AtomicU64::new(0), all: Some(Arc::clone(all)) }
    }

    /// How many there are now.
    pub(super) fn units(&self) -> u64 {
        // Two changes of one connection may be counted in the other order, so that it is below zero between them.
        u64::try_from(self.units.load(Ordering::Relaxed).cast_signed()).unwrap_or(0)
    }

    fn add(&self, more: u64) {
        self.units.fetch_add(more, Ordering::Relaxed);
        if let Some(all) = &self.all {
            all.units.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// Milliseconds since some moment of this process, and never 0.
pub(super) fn millis() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let elapsed = BEGAN.get_or_init(instant).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

/// One unit of [`Pending`] work; finished when dropped.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Pending>);

impl Pending {
    /// Nothing under way, on a connection that begins now and is counted in `half_read`.
    pub(super) fn new(half_read: &Arc<HalfRead>) -> Self {
        Self {
            work: AtomicU64::new(0),
            half_read: Arc::clone(half_read),
            idle_since: AtomicU64::new(millis()),
            came: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            idle: AtomicWaker::new(),
            chooser: AtomicWaker::new(),
        }
    }

    /// Counts one more unit of work until the ticket is dropped.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.add(Work::TICKET);
        Ticket(Arc::clone(self))
    }

    /// Takes so many units of memory to read the connection with.
    pub(super) fn take(&self, units: u64) {
        self.add(units);
    }

    /// Gives them back.
    pub(super) fn give_back(&self, units: u64) {
        self.subtract(units);
    }

    /// Counts nothing of the connection as half read any more.
    pub(super) fn leave(&self) {
        let before = self.work.fetch_or(Work::GONE, Ordering::AcqRel);
        self.count(Work(before), Work(before | Work::GONE));
    }

    fn add(&self, amount: u64) {
        let before = self.work.fetch_add(amount, Ordering::AcqRel);
        self.count(Work(before), Work(before.wrapping_add(amount)));
    }

    fn subtract(&self, amount: u64) -> Work {
        let before = self.work.fetch_sub(amount, Ordering::AcqRel);
        let after = Work(before.wrapping_sub(amount));
        self.count(Work(before), after);
        after
    }

    fn count(&self, before: Work, after: Work) {
        let more = after.half_read().wrapping_sub(before.half_read());
        if more != 0 {
            self.half_read.add(more);
        }
    }

    /// Units of memory that the connection is read with, also while requests are under way.
    pub(super) fn units(&self) -> u64 {
        Work(self.work.load(Ordering::Acquire)).units()
    }

    /// When the last ticket was given back, or the connection began, in milliseconds of [`millis`].
    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }

    /// Notes that bytes have come that memory is asked for.
    pub(super) fn comes(&self) {
        self.came.store(millis(), Ordering::Relaxed);
    }

    /// The later of [`Pending::idle_since`] and of when such bytes came: how idle the connection is among others. A connection
    /// that only keeps itself open is unused all the same.
    pub(super) fn quiet_since(&self) -> u64 {
        self.idle_since().max(self.came.load(Ordering::Relaxed))
    }

    /// True if nothing has been under way for `time`, or the other end has taken nothing of an answer for so long.
    pub(super) fn is_unused_for(&self, time: Duration) -> bool {
        let since = match self.stalled_since.load(Ordering::Relaxed) {
            0 if self.is_idle() => self.idle_since(),
            0 => return false,
            since => since,
        };
        Duration::from_millis(millis().saturating_sub(since)) >= time
    }

    #[cfg(test)]
    pub(super) fn idle_since_for_tests(&self, since: u64) {
        self.idle_since.store(since, Ordering::Relaxed);
    }

    /// Wakes the task of `cx` when the last ticket is given back, instead of whoever waited for that before.
    pub(super) fn wake_when_idle(&self, cx: &Context<'_>) {
        self.idle.register(cx.waker());
        // It may have been given back before.
        if self.is_idle() {
            self.idle.wake();
        }
    }

    /// Wakes nobody any more: who looks now needs not be told.
    pub(super) fn wake_nobody(&self) {
        drop(self.idle.take());
    }

    /// Tells `chooser` once when the last ticket is given back.
    pub(super) fn tell_when_idle(&self, chooser: &Waker) {
        self.chooser.register(chooser);
        if self.is_idle() {
            self.chooser.wake();
        }
    }

    /// True when no ticket is held, so that the connection may be taken away from hyper.
    pub(super) fn is_idle(&self) -> bool {
        Work(self.work.load(Ordering::Acquire)).is_idle()
    }

    /// Notes since when the other end has not taken the rest of an answer; 0 if it has.
    pub(super) fn stalls(&self, since: u64) {
        self.stalled_since.store(since, Ordering::Relaxed);
    }
}

impl Ticket {
    /// As [`Pending::stalls`] of its connection.
    pub(super) fn stalls(&self, since: u64) {
        self.0.stalls(since);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.subtract(Work::TICKET).is_idle() {
            self.0.idle_since.store(millis(), Ordering::Relaxed);
            self.0.idle.wake();
            self.0.chooser.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_read_has_no_request_under_way_and_has_not_ended() {
        let half_read = Arc::new(HalfRead::default());
        let peers = [(); 2].map(|()| Arc::new(HalfRead::part_of(&half_read)));
        let [one, other] = [0, 1].map(|peer| Arc::new(Pending::new(&peers[peer])));
        one.take(1);
        other.take(8);
        assert_eq!((half_read.units(), peers[0].units(), peers[1].units()), (9, 1, 8));
        let tickets = [one.ticket(), one.ticket()];
        assert_eq!(half_read.units(), 8);
        one.take(8);
        assert_eq!((half_read.units(), one.units()), (8, 9));
        drop(tickets);
        assert_eq!(half_read.units(), 17);
        one.give_back(1);
        assert_eq!(half_read.units(), 16);
        one.leave();
        assert_eq!(half_read.units(), 8);
        drop(one.ticket());
        one.give_back(8);
        assert_eq!((half_read.units(), one.units()), (8, 0), "what has ended counts no more");
        other.give_back(8);
        assert_eq!((half_read.units(), peers[0].units(), peers[1].units()), (0, 0, 0));
    }
}
