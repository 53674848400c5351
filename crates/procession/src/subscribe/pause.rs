//! Pauses between looks for what nobody gives notice of.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Whoever had nothing to look for, for so long, begins with short pauses again.
const CALM: Duration = Duration::from_secs(10);

/// A pause that grows each time it is over.
#[derive(Default)]
pub(super) struct Pause {
    times: u32,
    sleep: Option<Pin<Box<Sleep>>>,
    over: Option<Instant>,
}

impl Pause {
    /// Ready when the pause is over; the next poll begins another one.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { times, over, .. } = self;
        let sleep = self.sleep.get_or_insert_with(|| {
            if over.is_some_and(|over| over.elapsed() > CALM) {
                *times = 0;
            }
            let pause = PAUSE_MIN.saturating_mul(1 << (*times).min(10)).min(PAUSE_MAX);
            *times = times.saturating_add(1);
            Box::pin(tokio::time::sleep(pause))
        });
        ready!(sleep.as_mut().poll(context));
        (self.sleep, self.over) = (None, Some(Instant::now()));
        Poll::Ready(())
    }
}
