//! A lane: which session is there, and what its page shows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::checkout::{At, BasketState, Receipt};
use procession::{Process, Waiting};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::shop::Shop;
use crate::state::{Phase, ShownBasket, State};
use crate::trouble::Trouble;

/// A lane has one screen; people may look at it from others.
const WATCHING_MAX: usize = 16;
/// Between two looks at who answers.
const SERVICES_PAUSE: Duration = Duration::from_secs(2);

/// All lanes.
pub(crate) struct Lanes {
    lanes: Vec<Arc<Lane>>,
}

/// One lane.
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) shop: Arc<Shop>,
    process: Process<Settings>,
    /// Locked for a moment only, never while anybody is asked.
    held: Mutex<Held>,
    /// The state for the pages that look.
    shown: watch::Sender<Shown>,
    /// One look at a time: an older one must not be shown after a newer.
    looking: tokio::sync::Mutex<()>,
    /// Somebody has begun to look, or something was done.
    stir: Notify,
    /// Places for those who look on.
    watching: Arc<Semaphore>,
}

/// A state as JSON, and its number: a page may hear of two in the wrong order, over different connections.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    number: i64,
    state: Arc<str>,
}

impl Shown {
    /// Nothing yet. Numbers go on from an earlier life's: they begin with the clock's milliseconds.
    fn nothing() -> Self {
        Shown { number: At::now().0 / 1000, state: "".into() }
    }

    /// With the number as its first member; none if there is nothing yet.
    pub(crate) fn to_json(&self) -> Option<String> {
        let members = self.state.strip_prefix('{')?;
        Some(format!("{{\"seq\":{},{members}", self.number))
    }
}

#[derive(Debug, Default)]
struct Held {
    visit: Option<Visit>,
    /// The basket as it was last seen, for the time when it can't be asked.
    basket: Option<ShownBasket>,
}

/// A customer's stay at the lane; kept in the journal, as the checkpoint `lane-N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) session: String,
    /// The basket knows the session.
    pub(crate) started: bool,
    pub(crate) receipt: Option<Receipt>,
}

impl Lanes {
    /// As the process's own journal says.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn recall(process: &Process<Settings>) -> procession::Result<Self> {
        let settings = process.settings();
        let shop = Arc::new(Shop::of(process, settings.look_timeout)?);
        let lane = |number| {
            let visit: Option<Option<Visit>> = process.checkpoint(&checkpoint(number))?;
            let held = Held { visit: visit.flatten(), basket: None };
            Ok(Arc::new(Lane {
                number,
                shop: Arc::clone(&shop),
                process: process.clone(),
                held: Mutex::new(held),
                shown: watch::Sender::new(Shown::nothing()),
                looking: tokio::sync::Mutex::default(),
                stir: Notify::new(),
                watching: Arc::new(Semaphore::new(WATCHING_MAX)),
            }))
        };
        let lanes = (1..=settings.lanes.get()).map(lane).collect::<procession::Result<_>>()?;
        Ok(Lanes { lanes })
    }

    /// The lane of this number.
    pub(crate) fn get(&self, number: u32) -> Result<&Arc<Lane>, Trouble> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| self.lanes.get(place)).ok_or_else(|| {
            let message =
                format!("There is no lane {number}: they are numbered from 1 to {}.", self.lanes.len());
            Trouble::new(axum::http::StatusCode::NOT_FOUND, "UnknownLane", message)
        })
    }

    /// Keeps the pages up to date as long as somebody looks.
    pub(crate) fn watch(&self, shutdown: &CancellationToken) {
        for lane in &self.lanes {
            let (lane, shutdown) = (Arc::clone(lane), shutdown.clone());
            tokio::spawn(async move { shutdown.run_until_cancelled(lane.keep_shown()).await });
        }
        let Some(lane) = self.lanes.first() else { return };
        let (process, shop, shutdown) = (lane.process.clone(), Arc::clone(&lane.shop), shutdown.clone());
        tokio::spawn(async move { shutdown.run_until_cancelled(say_silent(process, shop)).await });
    }
}

impl Lane {
    /// The customer's stay, if there is a customer.
    pub(crate) fn visit(&self) -> Option<Visit> {
        self.lock().visit.clone()
    }

    /// The session that things are done for.
    pub(crate) fn session(&self) -> Result<String, Trouble> {
        match self.visit() {
            Some(Visit { session, started: true, receipt: None }) => Ok(session),
            Some(Visit { receipt: Some(_), .. }) => {
                Err(Trouble::conflict("Paid", "This basket has been paid already."))
            }
            _ => Err(Trouble::conflict("NotStarted", "Nobody shops here: start first.")),
        }
    }

    /// The customer's stay, which begins now if there was no customer.
    pub(crate) fn arrive(&self) -> Result<Visit, Trouble> {
        let mut held = self.lock();
        if let Some(visit) = &held.visit {
            return Ok(visit.clone());
        }
        let session = new_session(self.number);
        let visit = Visit { session, started: false, receipt: None };
        self.keep(&mut held, Some(visit.clone()))?;
        Ok(visit)
    }

    /// The basket knows the session.
    pub(crate) fn has_started(&self, session: &str) -> Result<(), Trouble> {
        self.change(session, |visit| visit.started = true)
    }

    /// The basket is paid.
    pub(crate) fn has_paid(&self, receipt: Receipt) -> Result<(), Trouble> {
        let session = receipt.session.clone();
        self.change(&session, |visit| visit.receipt = Some(receipt))
    }

    /// The customer leaves.
    pub(crate) fn leave(&self) -> Result<(), Trouble> {
        let mut held = self.lock();
        self.keep(&mut held, None)?;
        held.basket = None;
        Ok(())
    }

    fn change(&self, session: &str, change: impl FnOnce(&mut Visit)) -> Result<(), Trouble> {
        let mut held = self.lock();
        let Some(mut visit) = held.visit.clone().filter(|visit| visit.session == session) else {
            return Ok(());
        };
        change(&mut visit);
        if held.visit.as_ref() == Some(&visit) { Ok(()) } else { self.keep(&mut held, Some(visit)) }
    }

    fn keep(&self, held: &mut Held, visit: Option<Visit>) -> Result<(), Trouble> {
        let keep = || {
            let mut batch = self.process.batch();
            batch.checkpoint(&checkpoint(self.number), &visit)?;
            batch.commit()
        };
        if let Err(error) = keep() {
            tracing::error!(%error, "what goes on at a lane can't be kept");
            return Err(Trouble::unavailable("This checkout can't write to its disk."));
        }
        held.visit = visit;
        Ok(())
    }

    /// How things stand, asked anew; also for those who look.
    pub(crate) async fn look(&self) -> String {
        let _one_at_a_time = self.looking.lock().await;
        let state: Arc<str> =
            serde_json::to_string(&self.state().await).expect("numbers and text are JSON").into();
        self.shown.send_if_modified(|shown| {
            let new = shown.state != state;
            if new {
                *shown = Shown { number: shown.number + 1, state };
            }
            new
        });
        self.shown.borrow().to_json().expect("it has just been seen")
    }

    /// A place for somebody who looks on; none if there is none left.
    pub(crate) fn watching(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.watching).try_acquire_owned().ok()
    }

    /// For somebody who begins to look: the newest state, and those to come.
    pub(crate) fn shown(&self) -> watch::Receiver<Shown> {
        let receiver = self.shown.subscribe();
        self.stir.notify_one();
        receiver
    }

    async fn state(&self) -> State {
        let before = self.visit();
        let seen = self.shop.look(before.as_ref().map(|visit| visit.session.as_str())).await;
        // The bank may have been slower than the customer's patience with us.
        if let Some(paid) = seen.paid
            && let Err(error) = self.has_paid(paid.receipt)
        {
            tracing::warn!(?error, "a receipt can't be kept");
        }
        let mut held = self.lock();
        let same =
            held.visit.as_ref().map(|visit| &visit.session) == before.as_ref().map(|visit| &visit.session);
        if let Some(basket) = seen.basket.filter(|_| same) {
            held.basket = Some(basket.into());
        }
        let visit = held.visit.clone();
        let basket = held.basket.clone().filter(|_| visit.is_some());
        State {
            lane: self.number,
            phase: phase(visit.as_ref(), basket.as_ref()),
            session: visit.as_ref().map(|visit| visit.session.clone()),
            weight: seen.verdict.filter(|_| same).map(Into::into),
            bag_grams: seen.bag.filter(|_| same).map(|bag| bag.grams),
            services: seen.services,
            receipt: visit.and_then(|visit| visit.receipt),
            basket,
        }
    }

    async fn keep_shown(&self) {
        let pause = self.process.settings().look_every;
        loop {
            if self.shown.receiver_count() == 0 {
                // What is seen now would be old when somebody comes.
                self.shown.send_modify(|shown| shown.state = "".into());
                self.stir.notified().await;
            } else {
                // Nobody has stirred: then it is time to look by ourselves.
                let _ = timeout(pause.max(Duration::from_millis(10)), self.stir.notified()).await;
            }
            self.look().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whom customers would miss, for as long as they don't answer, also where no customer is.
async fn say_silent(process: Process<Settings>, shop: Arc<Shop>) {
    let mut waiting: Option<Waiting> = None;
    let mut was_silent = false;
    loop {
        let silent = shop.look(None).await.services.silent();
        // Whoever is only being restarted is back at the next look.
        if silent.is_empty() || !was_silent {
            waiting = None;
        } else {
            let why = format!("no answer from {}", silent.join(", "));
            waiting.get_or_insert_with(|| process.waiting(why.as_str())).say(why.as_str());
        }
        was_silent = !silent.is_empty();
        sleep(SERVICES_PAUSE).await;
    }
}

/// A name that no session has had: by chance, since a clock says the same twice within a moment, and may be set back.
fn new_session(lane: u32) -> String {
    format!("{lane}-{:032x}", rand::random::<u128>())
}

fn checkpoint(number: u32) -> String {
    format!("lane-{number}")
}

fn phase(visit: Option<&Visit>, basket: Option<&ShownBasket>) -> Phase {
    match visit {
        Some(Visit { receipt: Some(_), .. }) => Phase::Paid,
        Some(Visit { started: true, .. })
            if basket.is_some_and(|basket| basket.state == BasketState::Closed) =>
        {
            Phase::Closed
        }
        Some(Visit { started: true, .. }) => Phase::Shopping,
        _ => Phase::Idle,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sessions_of_one_moment_have_names_of_their_own() {
        let names: BTreeSet<String> = (0..10_000).map(|_| new_session(1)).collect();
        assert_eq!(names.len(), 10_000);
    }
}
