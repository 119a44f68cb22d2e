//! `countersign sign --watch`: a sidecar that keeps the signed card fresh while the Pod runs, without a restart.
//! A failure leaves the last signed card in its file; verifiers decide by its times whether to accept it.

use super::journal;
use super::settings::{Signed, SignerSettings, said_fetched};
use crate::exit::Unusable;
use countersign_core::encoding::{Digest, sha256};
use countersign_core::limits::BODY_BYTES;
use countersign_core::time::{Seconds, Timestamp};
use countersign_io::clock;
use countersign_io::files::read_file;
use countersign_io::workload_api::{WorkloadSvid, follow_svid};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two reads of the unsigned card and of the clock.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two log lines about an unchanged failure.
const REPEAT: Seconds = Seconds::new(60);

/// Signs until SIGTERM or SIGINT.
pub(super) async fn run(settings: &SignerSettings) -> Result<(), Unusable> {
    let ended = end()?;
    let (latest, mut changed) = watch::channel::<Option<Arc<WorkloadSvid>>>(None);
    let mut problems = Problems::default();
    let follow = follow_svid(&settings.socket, settings.timeout, |update| match update {
        Ok(svid) => {
            problems = Problems::default();
            latest.send_if_modified(|last| {
                // After each reconnection the agent sends the current SVID, which may be the known one.
                let is_new = last.as_ref().is_none_or(|last| last.chain != svid.chain);
                if is_new {
                    said_fetched(&svid);
                    *last = Some(Arc::new(svid));
                }
                is_new
            });
        }
        Err(error) => problems.say(&settings.unread_svid(error)),
    });
    let work = async {
        let mut signer = WatchSigner { settings, last: None, problems: Problems::default() };
        loop {
            let svid = changed.borrow_and_update().clone();
            if let Some(svid) = svid {
                signer.look(&svid);
            }
            tokio::select! {
                // The sender lives as long as this loop.
                _ = changed.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    };
    tokio::select! {
        () = ended => {}
        () = follow => {}
        () = work => {}
    }
    journal::info("stopping", &[]);
    Ok(())
}

/// Returns a future that ends with SIGTERM or SIGINT. The process catches both from now on: the kernel ignores them
/// for process 1 of a container without a handler.
fn end() -> Result<impl Future<Output = ()>, Unusable> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Unusable::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Unusable::new)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The inputs of the last signed card, and the time of its renewal.
struct Last {
    card: Digest,
    leaf: Digest,
    signed: Signed,
    renew: Timestamp,
}

struct WatchSigner<'a> {
    settings: &'a SignerSettings,
    last: Option<Last>,
    problems: Problems,
}

impl WatchSigner<'_> {
    /// Signs if the card or the SVID changed, or the renewal is due.
    fn look(&mut self, svid: &WorkloadSvid) {
        match self.try_look(svid, clock::now()) {
            Ok(()) => self.problems = Problems::default(),
            Err(problem) => self.problems.say(&problem),
        }
    }

    fn try_look(&mut self, svid: &WorkloadSvid, now: Timestamp) -> Result<(), String> {
        let card =
            read_file(&self.settings.card, BODY_BYTES).map_err(|error| self.settings.unread_card(error))?;
        let leaf = sha256(svid.chain.first().map(Vec::as_slice).unwrap_or_default());
        let digest = sha256(&card);
        if let Some(last) = &self.last
            && last.card == digest
            && last.leaf == leaf
        {
            if now < last.renew {
                return Ok(());
            }
            // An unchanged SVID gains nothing unless the new signature would last longer.
            if self.settings.ends(svid, now)? <= last.signed.ends {
                return Err(format!(
                    "the SVID has not been renewed and the signed card ends at {}; check the SPIRE agent",
                    last.signed.ends
                ));
            }
        }
        let signed = self.settings.sign(card, svid)?;
        let renew = half_way(now, signed.ends);
        self.last = Some(Last { card: digest, leaf, signed, renew });
        Ok(())
    }
}

/// The time half way from `now` to `end`; `now` if `end` has passed.
fn half_way(now: Timestamp, end: Timestamp) -> Timestamp {
    let half = end.since(now).max(0).checked_div(2).unwrap_or_default();
    now.plus(Seconds::new(u32::try_from(half).unwrap_or(u32::MAX)))
}

/// The last logged failure, so that an unchanged one is logged once per [`REPEAT`].
#[derive(Default)]
struct Problems(Option<(String, Timestamp)>);

impl Problems {
    fn say(&mut self, problem: &str) {
        let now = clock::now();
        let said = self.0.as_ref().is_some_and(|(last, at)| last == problem && now < at.plus(REPEAT));
        if !said {
            journal::error("signing failed", &[("error", problem.to_owned())]);
            self.0 = Some((problem.to_owned(), now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_due_half_way_to_its_end_and_at_once_after_it() {
        let at = Timestamp::from_unix;
        assert_eq!(half_way(at(100), at(160)), at(130));
        assert_eq!(half_way(at(100), at(101)), at(100));
        assert_eq!(half_way(at(100), at(40)), at(100));
    }
}
