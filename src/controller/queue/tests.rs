//! Tests of the queue: order, exclusion, fairness between namespaces, and long waits.

use super::*;
use countersign_io::clock::instant;

impl Tenant for &str {
    /// Namespace of `namespace/name`, or the whole text.
    fn namespace(&self) -> &str {
        self.split_once('/').map_or(self, |(namespace, _)| namespace)
    }
}

impl Tenant for (&'static str, u32) {
    fn namespace(&self) -> &str {
        self.0
    }
}

const ONE: Duration = Duration::from_secs(1);

fn at(start: Instant, seconds: u64) -> Instant {
    start.checked_add(Duration::from_secs(seconds)).unwrap()
}

fn take<K: Clone + Eq + Hash + Ord + Tenant>(queue: &mut Queue<K>, now: Instant) -> Option<K> {
    queue.take(now).map(|(key, _)| key)
}

fn queue<K: Clone + Eq + Hash + Ord + Tenant>() -> (Queue<K>, Instant) {
    (Queue::of_short_turns(1000), instant())
}

#[test]
fn a_key_enqueued_many_times_gets_one_turn_at_the_earliest_time() {
    let (mut queue, now) = queue();
    queue.add("a", at(now, 9), Urgency::Routine);
    queue.add("a", at(now, 2), Urgency::Routine);
    queue.add("a", at(now, 5), Urgency::Routine);
    assert_eq!(queue.next_later(), Some(at(now, 2)));
    assert_eq!(take(&mut queue, at(now, 1)), None);
    assert_eq!(take(&mut queue, at(now, 2)), Some("a"));
    assert_eq!(take(&mut queue, at(now, 9)), None);
}

#[test]
fn urgent_keys_overtake_those_that_waited_longer() {
    let (mut queue, now) = queue();
    queue.add("routine", now, Urgency::Routine);
    queue.add("ask", at(now, 1), Urgency::Urgent);
    queue.add("close", at(now, 2), Urgency::Closing);
    assert_eq!(take(&mut queue, at(now, 2)), Some("close"));
    assert_eq!(take(&mut queue, at(now, 2)), Some("ask"));
    assert_eq!(take(&mut queue, at(now, 2)), Some("routine"));
}

#[test]
fn a_due_key_takes_the_highest_urgency_enqueued() {
    let (mut queue, now) = queue();
    queue.add("a", now, Urgency::Routine);
    queue.add("b", now, Urgency::Urgent);
    queue.add("c", now, Urgency::Routine);
    assert_eq!(take(&mut queue, now), Some("b"));
    queue.add("c", at(now, 60), Urgency::Closing);
    assert_eq!((take(&mut queue, now), take(&mut queue, now)), (Some("c"), Some("a")));
    assert!(!queue.is_behind(at(now, 100)));
}

#[test]
fn a_key_never_runs_twice_at_once_and_nothing_enqueued_meanwhile_is_lost() {
    let (mut queue, now) = queue();
    queue.add("a", now, Urgency::Routine);
    assert_eq!(take(&mut queue, now), Some("a"));
    queue.add("a", now, Urgency::Urgent);
    assert_eq!(take(&mut queue, now), None);
    queue.done(&"a", Some((at(now, 30), Urgency::Routine)));
    assert_eq!(take(&mut queue, now), Some("a"));
    queue.done(&"a", Some((at(now, 30), Urgency::Routine)));
    assert_eq!(queue.next_later(), Some(at(now, 30)));
}

#[test]
fn a_busy_key_does_not_keep_the_others_waiting() {
    let (mut queue, now) = queue();
    for key in 0..50 {
        queue.add(("team", key), now, Urgency::Routine);
    }
    let mut seen = BTreeSet::new();
    // Every run of key 0 enqueues another, as a key whose writes change its own object would.
    for turn in 0..51 {
        let key = take(&mut queue, at(now, turn)).unwrap();
        seen.insert(key);
        queue.done(&key, (key.1 == 0).then(|| (at(now, turn), Urgency::Routine)));
    }
    assert_eq!(seen.len(), 50);
}

#[test]
fn what_waited_long_gets_its_turn_whatever_is_urgent() {
    for load in [Urgency::Urgent, Urgency::Closing] {
        let (mut queue, now) = queue();
        queue.add(("quiet", 0), now, Urgency::Routine);
        for key in 0..32 {
            queue.add(("loud", key), now, load);
        }
        // At worst all 32 other keys have waited as long and run first.
        let latest = LONG.as_secs() + 33 * u64::from(IN_BETWEEN);
        let served = (0..10_000).find(|turn| {
            let key = take(&mut queue, at(now, *turn)).unwrap();
            queue.done(&key, None);
            queue.add(key, at(now, *turn), load);
            key.0 == "quiet"
        });
        assert!(served.is_some_and(|served| served <= latest), "{load:?}: after {served:?} turns");
    }
}

#[test]
fn closing_keeps_most_turns_although_others_have_waited_long() {
    let (mut queue, now) = queue();
    for key in 0..100 {
        queue.add(("team", key), now, Urgency::Routine);
        queue.add(("team", 1000 + key), now, Urgency::Closing);
    }
    let taken: Vec<u32> = (0..100).map(|_| take(&mut queue, at(now, 3600)).unwrap().1).collect();
    let closing = taken.iter().filter(|key| **key >= 1000).count();
    assert!(closing >= 75, "{closing} of 100");
    assert!(closing < 100, "{closing} of 100");
}

#[test]
fn namespaces_take_turns_however_many_keys_one_enqueues() {
    for urgency in [Urgency::Closing, Urgency::Urgent, Urgency::Routine] {
        let (mut queue, now) = queue();
        for key in 0..1000 {
            queue.add(("loud", key), now, urgency);
        }
        for key in 0..3 {
            queue.add(("quiet", key), at(now, 1), urgency);
        }
        let taken: Vec<&str> = (0..6).map(|_| take(&mut queue, at(now, 1)).unwrap().0).collect();
        assert_eq!(taken.iter().filter(|namespace| **namespace == "quiet").count(), 3, "{taken:?}");
    }
}

#[test]
fn enqueueing_again_and_again_moves_no_key_back() {
    let (mut queue, now) = queue();
    queue.add(("a", 1), now, Urgency::Urgent);
    queue.add(("b", 1), now, Urgency::Urgent);
    assert!(queue.is_behind(now));
    queue.wake(now);
    for _ in 0..10 {
        queue.add(("a", 1), at(now, 1), Urgency::Urgent);
    }
    assert_eq!(take(&mut queue, at(now, 1)), Some(("a", 1)));
}

#[test]
fn no_namespace_holds_all_slots_and_a_newcomer_has_one_at_once() {
    let (mut queue, now) = (Queue::of_long_turns(16, ONE, 1), instant());
    for key in 0..32 {
        queue.add(("tarpit", key), now, Urgency::Urgent);
    }
    let mut hung = Vec::new();
    while let Some(key) = take(&mut queue, now) {
        hung.push(key);
    }
    assert_eq!(hung.len(), 8, "half of the slots");
    for namespace in ["one", "two", "three"] {
        queue.add((namespace, 0), now, Urgency::Routine);
        let key = take(&mut queue, now);
        assert_eq!(key, Some((namespace, 0)));
        queue.done(&(namespace, 0), None);
    }
    // Once a hanging turn ends, the next key of its namespace runs.
    assert_eq!(take(&mut queue, now), None);
    queue.done(&hung[0], None);
    assert_eq!(take(&mut queue, now).map(|key| key.0), Some("tarpit"));
    assert_eq!(take(&mut queue, now), None);
}

#[test]
fn a_key_that_is_toggled_has_one_turn_per_period_and_a_few_after_a_rest() {
    let (mut queue, now) = (Queue::of_long_turns(16, Duration::from_secs(5), 3), instant());
    let mut turns = Vec::new();
    // The key is enqueued ten times a second for 56 s, each time urgently.
    for tenth in 0..560_u64 {
        let at = now.checked_add(Duration::from_millis(100 * tenth)).unwrap();
        queue.add("team/toggled", at, Urgency::Urgent);
        if let Some(key) = take(&mut queue, at) {
            turns.push(tenth);
            queue.done(&key, Some((at.checked_add(ONE).unwrap(), Urgency::Routine)));
        }
    }
    assert_eq!(turns[..5], [0, 1, 2, 50, 100]);
    assert_eq!(turns.len(), 3 + 11);
    // A key that is enqueued seldom never waits.
    queue.add("team/honest", at(now, 56), Urgency::Urgent);
    assert_eq!(take(&mut queue, at(now, 56)), Some("team/honest"));
}

#[test]
fn a_turn_that_did_not_begin_is_not_charged() {
    let (mut queue, now) = (Queue::of_long_turns(4, ONE, 2), instant());
    for _ in 0..10 {
        queue.add("team/early", now, Urgency::Closing);
        assert_eq!(queue.take(now), Some(("team/early", Urgency::Closing)));
        queue.give_back(&"team/early");
    }
    for _ in 0..2 {
        queue.add("team/early", now, Urgency::Urgent);
        assert_eq!(take(&mut queue, now), Some("team/early"));
        queue.done(&"team/early", None);
    }
    queue.add("team/early", now, Urgency::Urgent);
    assert_eq!(take(&mut queue, now), None, "the burst is spent");
}

#[test]
fn a_queue_that_has_worked_holds_nothing_but_what_waits() {
    let (mut queue, now) = (Queue::of_long_turns(4, ONE, 1), instant());
    for number in 0..2000_u32 {
        let now = at(now, u64::from(number));
        queue.add(("team", number), now, Urgency::Urgent);
        let key = take(&mut queue, now).unwrap();
        queue.add(key, now, Urgency::Closing);
        // The turn fails once, and the next one succeeds.
        assert_eq!(queue.count_failures(&key, Some(Class::External)), 1);
        queue.done(&key, None);
        let key = take(&mut queue, at(now, 1)).unwrap();
        queue.count_failures(&key, None);
        queue.done(&key, None);
    }
    let kept = [queue.turns.len(), queue.later.len(), queue.after.len(), queue.failures.len()];
    assert_eq!(kept, [0; 4]);
    assert!(queue.running.is_empty() && !queue.is_behind(at(now, 9000)));
}

#[test]
fn what_could_not_be_closed_is_tried_again_before_what_is_less_urgent() {
    let (mut queue, now) = queue();
    queue.add("close", now, Urgency::Closing);
    assert_eq!(take(&mut queue, now), Some("close"));
    queue.add("ask", now, Urgency::Urgent);
    queue.done(&"close", Some((at(now, 1), Urgency::Closing)));
    assert_eq!(queue.take(at(now, 1)), Some(("close", Urgency::Closing)));
}

/// An API server that restarts answers 503, and then 403 until its authorizer has read the rules.
#[test]
fn failures_of_one_class_do_not_lengthen_the_waits_of_another() {
    let (mut queue, _) = queue();
    let (transient, configuration) = (Class::Transient, Class::Configuration);
    for count in 1..=8 {
        assert_eq!(queue.count_failures(&"a", Some(transient)), count);
    }
    assert_eq!(queue.count_failures(&"a", Some(configuration)), 1);
    assert_eq!(configuration.retry_after(1), Duration::from_secs(1));
    // Classes that alternate do not start over each time.
    assert_eq!(queue.count_failures(&"a", Some(transient)), 9);
    assert_eq!(queue.count_failures(&"a", Some(configuration)), 2);
    assert_eq!(queue.count_failures(&"b", Some(transient)), 1);
    assert_eq!(queue.count_failures(&"a", None), 0);
    assert_eq!(queue.count_failures(&"a", Some(transient)), 1);
}
