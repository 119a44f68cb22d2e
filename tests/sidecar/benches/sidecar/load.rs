//! Load by many callers, on a fixed schedule or as fast as it goes. A request that is late because the one before it was
//! slow counts from when it was due.

use crate::client::{Client, Target};
use crate::contender::Contender;
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout};

/// Longest time for an answer. A request without one counts as so slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Requests per second of all callers; each asks one after the other if there is none.
    pub(crate) rate: Option<u32>,
    /// For how long.
    pub(crate) time: Duration,
    /// How many callers.
    pub(crate) callers: u32,
    /// Requests after which a caller takes a new connection, whose making counts as part of the next one.
    pub(crate) renewal: Option<u32>,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// CPU time of the proxy for each request, in µs.
    pub(crate) cpu_micros: f64,
    /// CPU time of the proxy, as a share of its core.
    pub(crate) busy: f64,
    /// Median time of a request, in ms.
    pub(crate) p50_millis: f64,
    /// 99th percentile of it, in ms.
    pub(crate) p99_millis: f64,
    /// Requests without the right answer.
    pub(crate) failed: u32,
}

impl Load {
    /// One round against a proxy.
    pub(crate) fn run(self, contender: &Contender, target: &Target) -> Measured {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let callers = usize::try_from(self.callers).unwrap();
            // Who takes new connections all the time begins with one.
            let callers: Vec<Option<Client>> = match self.renewal {
                Some(_) => (0..callers).map(|_| None).collect(),
                None => target.callers(callers).await.unwrap().into_iter().map(Some).collect(),
            };
            let cpu = contender.cpu();
            let begin = Instant::now() + Duration::from_millis(50);
            let mut running = Vec::new();
            for (number, caller) in (0..).zip(callers) {
                let first = begin + self.gap() * number / self.callers;
                running.push(tokio::spawn(self.call(target.clone(), caller, first, begin + self.time)));
            }
            let (mut times, mut failed) = (Vec::new(), 0);
            for one in running {
                let (of_one, failures) = one.await.unwrap();
                times.extend(of_one);
                failed += failures;
            }
            let used = contender.cpu().saturating_sub(cpu).as_secs_f64();
            let took = begin.elapsed().as_secs_f64();
            times.sort_unstable();
            let millis = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            Measured {
                cpu_micros: used * 1e6 / f64::from(u32::try_from(times.len()).unwrap()),
                busy: used / took,
                p50_millis: millis(50),
                p99_millis: millis(99),
                failed,
            }
        })
    }

    /// Time between two requests of one caller.
    fn gap(self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * self.callers / rate)
    }

    /// The requests of one caller: how long each took, and how many failed.
    async fn call(
        self,
        target: Target,
        mut caller: Option<Client>,
        first: Instant,
        end: Instant,
    ) -> (Vec<Duration>, u32) {
        let (mut times, mut failed) = (Vec::new(), 0);
        let mut due = first;
        while due < end {
            let mut from = due;
            if Instant::now() < due {
                sleep_until(due.into()).await;
                // Timers are late by up to 1 ms, which is not the proxy's.
                from = Instant::now();
            }
            let answered = timeout(PATIENCE, async {
                let mut client = match caller.take() {
                    Some(client) => client,
                    None => target.caller().await?,
                };
                client.ask().await?;
                anyhow::Ok(client)
            });
            // One that could not even be asked in time has no answer in time.
            let is_asked = from.elapsed() < PATIENCE;
            if is_asked && let Ok(Ok(client)) = answered.await {
                times.push(from.elapsed());
                let is_over = self.renewal.is_some_and(|renewal| times.len() % renewal as usize == 0);
                caller = (!is_over).then_some(client);
            } else {
                times.push(PATIENCE);
                failed += 1;
            }
            due = if self.rate.is_some() { due + self.gap() } else { Instant::now() };
        }
        (times, failed)
    }
}

/// The median of each figure by itself; failures of all rounds.
pub(crate) fn median(rounds: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| middle(rounds.iter().map(figure));
    Measured {
        cpu_micros: of(|round| round.cpu_micros),
        busy: of(|round| round.busy),
        p50_millis: of(|round| round.p50_millis),
        p99_millis: of(|round| round.p99_millis),
        failed: rounds.iter().map(|round| round.failed).sum(),
    }
}

/// The median of some figures.
pub(crate) fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = figures.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
