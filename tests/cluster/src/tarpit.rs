//! Somebody who keeps the operator busy: cards behind servers that accept and never answer, changed all the time.

use crate::agents::Agents;
use crate::scene::user_card;
use anyhow::Result;
use countersign_rig::Rig;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Agents that hang, and their AgentCards, by namespace and name.
pub struct Tarpit<'r> {
    rig: &'r Rig,
    cards: Vec<(String, String)>,
    ends: AtomicBool,
    toggled: AtomicUsize,
}

impl<'r> Tarpit<'r> {
    /// So many in each of these namespaces, which exist.
    pub fn new(agents: &Agents<'r>, namespaces: &[&str], each: usize) -> Result<Self> {
        let mut cards = Vec::new();
        let mut items: Vec<Value> = Vec::new();
        for namespace in namespaces {
            for number in 0..each {
                let name = format!("hung-{number}");
                agents.hang(namespace, &name)?;
                items.push(user_card(namespace, &name, &name));
                items.extend(Agents::manifests(namespace, &name));
                cards.push(((*namespace).to_owned(), name));
            }
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        agents.rig().apply(&list.to_string())?;
        Ok(Self { rig: agents.rig(), cards, ends: AtomicBool::new(false), toggled: AtomicUsize::new(0) })
    }

    /// The AgentCards.
    pub fn cards(&self) -> &[(String, String)] {
        &self.cards
    }

    /// Changes the spec of a card every sixth of a second and of each in turn, while `act` runs; says how often.
    pub fn while_toggled<T>(&self, act: impl FnOnce() -> T) -> (T, usize) {
        std::thread::scope(|scope| {
            let toggling = scope.spawn(|| {
                for (number, (namespace, name)) in self.cards.iter().cycle().enumerate() {
                    if self.ends.load(Ordering::Acquire) {
                        return;
                    }
                    let path =
                        format!("/apis/agent.kagenti.dev/v1alpha1/namespaces/{namespace}/agentcards/{name}");
                    let period = if (number / self.cards.len()).is_multiple_of(2) { "2s" } else { "1s" };
                    if self.rig.patch(&path, &json!({ "spec": { "syncPeriod": period } })).is_ok() {
                        self.toggled.fetch_add(1, Ordering::AcqRel);
                    }
                    std::thread::sleep(Duration::from_millis(1000 / 6));
                }
            });
            // The toggling ends also when this fails.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            self.ends.store(true, Ordering::Release);
            let _ = toggling.join();
            let result = result.unwrap_or_else(|problem| std::panic::resume_unwind(problem));
            (result, self.toggled.load(Ordering::Acquire))
        })
    }
}
