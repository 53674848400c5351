//! Whether a closed basket's weight is known to be right.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::checkout::{At, GetVerdict, Judgement};
use procession::calls::{Caller, Failure};
use tokio::time::{Instant, sleep, sleep_until};

/// Pauses between two looks at a verdict that is not settled.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(250);
/// One look takes no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// While weight-check is silent and somebody was refused for it, it is asked as often.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// After so long, a silence that was noticed says nothing of now.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(60);

/// Weight-check did not answer.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    noticed: Instant,
}

/// What is known of a basket's weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is right, and nothing will change that.
    Right,
    /// It is not what it should be.
    Wrong { expected_grams: i64, measured_grams: i64 },
    /// It looks wrong, but an event that is still to come may change that.
    Doubtful(String),
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// Asks weight-check.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    weight_check: Caller,
    patience: Duration,
    /// If it has not answered anybody for longer than the patience, the next customer needs not wait as long again.
    /// A lock, because payments are tasks of their own.
    silence: Arc<Mutex<Option<Silence>>>,
}

impl Verifier {
    pub(crate) fn new(weight_check: &Caller, patience: Duration) -> Self {
        // Patience is ours, over several calls.
        let weight_check = weight_check.patient(Duration::ZERO).within(ANSWER_WITHIN);
        Self { weight_check, patience, silence: Arc::default() }
    }

    /// Waits until the verdict on a basket that was closed at `closed` is settled, as long as the patience lasts.
    pub(crate) async fn look(&self, session: &str, closed: At) -> Finding {
        let until = Instant::now() + self.patience;
        let mut pause = LOOK_MIN;
        loop {
            let finding = match self.ask(session, closed).await {
                Look::Settled(finding) => return finding,
                Look::Open(finding) => finding,
                Look::Silent(reason) if self.is_long_silent() => return Finding::Unknown(reason),
                Look::Silent(reason) => Finding::Unknown(reason),
            };
            if Instant::now() >= until {
                return finding;
            }
            sleep_until((Instant::now() + pause).min(until)).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    async fn ask(&self, session: &str, closed: At) -> Look {
        let asked = self.weight_check.call(&GetVerdict { session: session.to_owned() }).await;
        self.heard(!matches!(
            asked,
            Err(Failure::Unreachable { .. } | Failure::Deadline { .. } | Failure::Lost { .. })
        ));
        let verdict = match asked {
            Ok(verdict) => verdict,
            Err(failure) => return Look::Silent(failure.to_string()),
        };
        let settled = verdict.is_settled(closed);
        let finding = match verdict.judgement {
            Judgement::Mismatch if settled => Finding::Wrong {
                expected_grams: verdict.expected_grams,
                measured_grams: verdict.measured_grams,
            },
            Judgement::Mismatch => {
                Finding::Doubtful("scale and basket differ, but that is not settled yet".to_owned())
            }
            Judgement::Ok if settled => Finding::Right,
            Judgement::None if settled => {
                Finding::Unknown("weight-check knows nothing of the session".to_owned())
            }
            Judgement::Ok | Judgement::None => {
                Finding::Unknown("the weight verdict is not settled yet".to_owned())
            }
        };
        if settled { Look::Settled(finding) } else { Look::Open(finding) }
    }

    fn heard(&self, answered: bool) {
        let now = Instant::now();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let known = silence.filter(|known| now - known.noticed < SILENCE_REMEMBERED);
        let since = known.map_or(now, |known| known.since);
        *silence = (!answered).then_some(Silence { since, noticed: now });
    }

    /// Whether weight-check did not answer the last time.
    pub(crate) fn is_silent(&self) -> bool {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Asks until weight-check answers anything, whoever is to hear it.
    pub(crate) async fn until_it_answers(&self) {
        while self.is_silent() {
            sleep(PROBE_PAUSE).await;
            self.ask("none", At::now()).await;
        }
    }

    fn is_long_silent(&self) -> bool {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.is_some_and(|known| known.since.elapsed() > self.patience)
    }
}

/// One look at the verdict.
enum Look {
    Settled(Finding),
    /// It may still change.
    Open(Finding),
    /// There was no answer.
    Silent(String),
}
