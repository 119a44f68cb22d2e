//! The last judgement of every card, with the received bytes as long as they fit: a card that does not fit any more
//! is refused when authorities change, until it was fetched again.

use super::card::Judgement;
use super::world::Place;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Received cards that are kept for judging them again when authorities change.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Judgements by the place of their card.
#[derive(Debug, Default)]
pub(crate) struct Judgements {
    by_place: BTreeMap<Place, Arc<Judgement>>,
    kept: usize,
}

impl Judgements {
    /// The last judgement of a card.
    pub(crate) fn get(&self, place: &Place) -> Option<&Arc<Judgement>> {
        self.by_place.get(place)
    }

    /// All of them, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Arc<Judgement>)> {
        self.by_place.iter()
    }

    /// Keeps a judgement; returns the one before.
    pub(crate) fn insert(&mut self, place: &Place, judgement: Judgement) -> Option<Arc<Judgement>> {
        let before = self.remove(place);
        let kept = self.kept.saturating_add(size(&judgement));
        let judgement = if kept <= KEPT_BYTES { judgement } else { judgement.without_body() };
        self.kept = self.kept.saturating_add(size(&judgement));
        self.by_place.insert(place.clone(), Arc::new(judgement));
        before
    }

    /// Keeps `now` in the place of `before`, unless the card was judged again meanwhile.
    pub(crate) fn replace(&mut self, place: &Place, before: &Judgement, now: Judgement) {
        let Some(held) = self.by_place.get_mut(place) else { return };
        if !Arc::ptr_eq(&held.finding, &before.finding) {
            return;
        }
        // Whether its bytes are kept was decided for all cards together.
        let now = if held.body().is_some() { now } else { now.without_body() };
        self.kept = self.kept.saturating_sub(size(held)).saturating_add(size(&now));
        *held = Arc::new(now);
    }

    /// Forgets a card; returns what was known of it.
    pub(crate) fn remove(&mut self, place: &Place) -> Option<Arc<Judgement>> {
        let before = self.by_place.remove(place)?;
        self.kept = self.kept.saturating_sub(size(&before));
        Some(before)
    }
}

fn size(judgement: &Judgement) -> usize {
    judgement.body().map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        ("team".to_owned(), name.to_owned())
    }

    #[test]
    fn bytes_are_kept_as_long_as_those_of_all_cards_fit_and_room_is_given_back() {
        let mut judgements = Judgements::default();
        let half = || Judgement::with_body(KEPT_BYTES / 2);
        for name in ["a", "b", "c"] {
            judgements.insert(&place(name), half());
        }
        let has_body = |judgements: &Judgements, name| judgements.get(&place(name)).unwrap().body().is_some();
        assert!(has_body(&judgements, "a") && has_body(&judgements, "b") && !has_body(&judgements, "c"));
        // The same card again takes no more room than before.
        judgements.insert(&place("b"), half());
        assert!(has_body(&judgements, "b"));
        judgements.remove(&place("a"));
        judgements.insert(&place("c"), half());
        assert!(has_body(&judgements, "c"));
        let before = judgements.get(&place("c")).unwrap().as_ref().clone();
        judgements.replace(&place("c"), &before, before.clone().without_body());
        judgements.insert(&place("d"), half());
        assert!(has_body(&judgements, "d"));
        assert_eq!(judgements.kept, KEPT_BYTES / 2 * 2);
    }

    #[test]
    fn a_judgement_that_was_overtaken_replaces_nothing() {
        let mut judgements = Judgements::default();
        let (first, second) = (Judgement::with_body(1), Judgement::with_body(2));
        judgements.insert(&place("a"), first.clone());
        judgements.insert(&place("a"), second);
        judgements.replace(&place("a"), &first, first.clone());
        assert_eq!(judgements.get(&place("a")).unwrap().body().unwrap().len(), 2);
    }
}
