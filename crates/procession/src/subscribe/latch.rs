//! Sleeping until another process has said more.
//!
//! The data never passes through the socket: a reader that has caught up asks the publisher to be
//! woken, once. While the publisher is down it reconnects with back-off and jitter, and looks at the journal
//! itself in between, for a publisher may die right after it has spoken.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use journal::Offset;
use rand::RngExt as _;

use crate::calls;
use crate::interfaces::journal::WaitPast;
use crate::varlink::{Client, ClientError, Endpoint, error_names};

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

type Waiting = Pin<Box<dyn Future<Output = Asked> + Send>>;

/// What came of asking a publisher.
enum Asked {
    /// It answers. The client can be used again.
    Answered(Woken, Client),
    /// It answers that it does not let this process wait.
    Refused,
    /// It does not answer.
    Silent,
}

/// Why it is worth looking at the journal again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The publisher says that it has said more than this.
    Moved(Offset),
    /// Somebody answers who did not before. Whoever it is has opened the journal that lies at its path now.
    Connected,
    /// Nobody could be asked, or does answer any more, for a while.
    Alone,
}

/// One reader's line to one publisher.
pub(crate) struct Latch {
    publisher: Endpoint,
    client: Option<Client>,
    /// The wait in progress. It owns the client, so that dropping whoever polls it loses nothing.
    waiting: Option<Waiting>,
    /// How often in a row it could not be reached.
    failures: u32,
    /// How often it has refused to let this process wait since it last did.
    refusals: u32,
}

impl Latch {
    pub(crate) fn new(publisher: Endpoint) -> Self {
        Self { publisher, client: None, waiting: None, failures: 0, refusals: 0 }
    }

    /// Ready when it is worth looking at the journal again: it has moved past `after`, or it may be another one. With
    /// `durable`, only what is safe from power loss counts.
    pub(crate) fn poll_past(
        &mut self,
        after: Offset,
        durable: bool,
        context: &mut Context<'_>,
    ) -> Poll<Woken> {
        let Self { publisher, client, failures, refusals, .. } = self;
        let waiting = self.waiting.get_or_insert_with(|| {
            let what = WaitPast { after: after.0, epoch: None, durable: durable.then_some(true) };
            Box::pin(wait(client.take(), publisher.clone(), what, (*failures, *refusals)))
        });
        let asked = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(match asked {
            Asked::Answered(woken, client) => {
                self.failures = 0;
                if matches!(woken, Woken::Moved(_)) {
                    self.refusals = 0;
                }
                self.client = Some(client);
                woken
            }
            Asked::Refused => {
                self.refusals = self.refusals.saturating_add(1);
                Woken::Alone
            }
            Asked::Silent => {
                self.failures = self.failures.saturating_add(1);
                Woken::Alone
            }
        })
    }
}

impl Latch {
    /// A socket has appeared, maybe the one that could not be reached: no pause any more.
    pub(crate) fn retry(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.waiting = None;
        }
    }
}

/// Full jitter around an exponential: many readers of a dead publisher do not come back in step.
fn pause(failures: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

async fn wait(
    client: Option<Client>,
    publisher: Endpoint,
    what: WaitPast,
    (failures, refusals): (u32, u32),
) -> Asked {
    let error = match ask(client, &publisher, &what).await {
        Ok((woken, client)) => return Asked::Answered(woken, client),
        Err(error) => error,
    };
    let is_refused = matches!(&error, ClientError::Error { .. });
    // Whoever refuses can be reached each time: only the refusals say how long that goes on.
    let pause = pause(failures.max(refusals));
    // Once for each time that it comes up: a person must know.
    match error {
        ClientError::Unproven(error) if failures == 0 => {
            tracing::warn!(%error, "not waiting on a publisher");
        }
        error if is_refused && refusals == 0 && is_lasting(&error) => {
            let (publisher, longest) = (publisher.socket().display(), PAUSE_MAX);
            tracing::warn!(
                %error, %publisher, ?longest,
                "a publisher does not let it wait: what is new there is looked for again and again"
            );
        }
        error => tracing::debug!(%error, ?pause, "cannot wait on a publisher"),
    }
    tokio::time::sleep(pause).await;
    if is_refused { Asked::Refused } else { Asked::Silent }
}

/// Whether a refusal stands until somebody changes something. A connection that was idle for long is refused, too, and the
/// next one is not.
fn is_lasting(error: &ClientError) -> bool {
    let ClientError::Error { name, .. } = error else { return false };
    matches!(name.as_str(), error_names::PERMISSION_DENIED | error_names::TOO_MANY_CONNECTIONS)
}

async fn ask(
    client: Option<Client>,
    publisher: &Endpoint,
    what: &WaitPast,
) -> Result<(Woken, Client), ClientError> {
    // A new connection is told before anything is asked: only then is it certain that a journal that was replaced
    // while nobody listened is noticed, for its publisher may have said less than the one before.
    let Some(mut client) = client else {
        return Ok((Woken::Connected, Client::connect_to(publisher).await?));
    };
    calls::ask(&mut client, what).await?;
    Ok((Woken::Moved(Offset(what.after)), client))
}
