//! Asking until there is an answer: a process that is down, busy or being restarted is only slow.

use std::time::Duration;

use contracts::checkout::{BasketError, PaymentError, ScaleError, ScannerError};
use procession::Process;
use procession::calls::{Caller, Failure, Refusal, Request};
use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use crate::settings::Settings;

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Customers that get no answer for so long can't shop, which is said.
const SAID_FROM: Duration = Duration::from_secs(1);

/// Why there is no answer to go on with.
#[derive(Debug)]
pub(crate) enum Stop<E> {
    /// It was refused, and will be again.
    Refused(E),
    /// Patience is at an end: the last reason.
    GaveUp(String),
}

/// A refusal that may only be for now.
pub(crate) trait Passing: Refusal {
    /// Whether it is worth asking again.
    fn passes(&self) -> bool;

    /// When to ask again, if the refusal says so.
    fn wait(&self) -> Option<Duration> {
        None
    }
}

impl Passing for BasketError {
    fn passes(&self) -> bool {
        matches!(self, Self::NotRecorded { .. } | Self::TooManySessions { .. })
    }
}

impl Passing for ScannerError {
    fn passes(&self) -> bool {
        matches!(self, Self::BasketUnavailable { .. } | Self::RateLimited { .. } | Self::NotRecorded { .. })
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_ms, .. } => Some(Duration::from_millis(*retry_ms)),
            _ => None,
        }
    }
}

impl Passing for ScaleError {
    fn passes(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::NotRecorded { .. })
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_ms, .. } => Some(Duration::from_millis(*retry_ms)),
            _ => None,
        }
    }
}

impl Passing for PaymentError {
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::BankUnavailable { .. }
                | Self::BasketUnavailable { .. }
                | Self::NotVerified { .. }
                | Self::NotRecorded { .. }
        )
    }
}

/// Asks until there is an answer; counts how often it had to ask again.
pub(crate) async fn ask<R: Request>(
    caller: &Caller,
    request: &R,
    process: &Process<Settings>,
    repeated: &mut u64,
) -> Result<R::Reply, Stop<R::Error>>
where
    R::Error: Passing,
{
    let begun = Instant::now();
    let until = begun + process.settings().patience;
    let mut pause = PAUSE_MIN;
    let mut waiting = None;
    loop {
        let failure = match caller.call(request).await {
            Ok(reply) => return Ok(reply),
            Err(Failure::Refused(refusal)) if !refusal.passes() => return Err(Stop::Refused(refusal)),
            Err(failure) => failure,
        };
        if Instant::now() >= until {
            return Err(Stop::GaveUp(failure.to_string()));
        }
        *repeated += 1;
        tracing::debug!(method = R::METHOD, %failure, "asking again");
        let wait = failure.refusal().and_then(Passing::wait);
        // Whoever is only being restarted is back by then.
        if wait.is_none() && begun.elapsed() >= SAID_FROM {
            let why = format!("customers get no answer from {}: {failure}", R::METHOD);
            waiting.get_or_insert_with(|| process.waiting(why.as_str())).say(why.as_str());
        }
        sleep(wait.unwrap_or_else(|| pause.mul_f64(rand::rng().random_range(0.5..1.0)))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
