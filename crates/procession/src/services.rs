//! What every process serves on its socket: `io.procession.Process` and `io.procession.Journal`.

mod counts;
mod reading;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::reading::JournalService;
use crate::calls::{NoReply, Request as _, answer};
use crate::core::{Core, State};
use crate::forgetting::ForgettingService;
use crate::interfaces::process::{self, GetHealth, GetStatus, Health, Status, Stop, Subscription};
use crate::letters::LettersService;
use crate::varlink::{Answer, Call, Right, Service};
use crate::waiting::rfc3339;

/// How long the application's loop may take to show that it is alive.
const PULSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Leases are renewed this many times before they run out.
const LEASE_RENEWALS: u32 = 100;

/// The services of a process.
pub(crate) fn all(core: &Arc<Core>) -> Vec<Arc<dyn Service>> {
    vec![
        Arc::new(ProcessService { core: Arc::clone(core) }),
        Arc::new(JournalService::new(core)),
        Arc::new(LettersService { core: Arc::clone(core) }),
        Arc::new(ForgettingService { core: Arc::clone(core) }),
    ]
}

/// Keeps the leases of all that the process needs of other journals, also of what hears nothing for days: of
/// subscriptions, of those whose journal is not there just now, and of what models would read again.
pub(crate) async fn keep_leases(core: Weak<Core>, lease: Duration) {
    let period = (lease / LEASE_RENEWALS).clamp(Duration::from_secs(1), Duration::from_secs(3600));
    loop {
        tokio::time::sleep(period).await;
        let Some(core) = core.upgrade() else { return };
        core.cursors.touch_claimed();
    }
}

struct ProcessService {
    core: Arc<Core>,
}

impl Service for ProcessService {
    fn interface(&self) -> &'static str {
        process::NAME
    }

    fn description(&self) -> &'static str {
        process::DESCRIPTION
    }

    fn right(&self, method: &str) -> Right {
        match method {
            "Status" | "Health" => Right::Read,
            // Also whatever is added and not thought of here.
            _ => Right::Control,
        }
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.full_method() {
                GetStatus::METHOD => answer(call, |_: GetStatus| async { Ok(self.status()) }).await,
                GetHealth::METHOD => answer(call, |_: GetHealth| async { Ok(self.health().await) }).await,
                Stop::METHOD => {
                    tracing::info!(peer = %call.peer(), "asked to stop");
                    self.core.shutdown.cancel();
                    answer(call, |_: Stop| async { Ok(NoReply {}) }).await
                }
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl ProcessService {
    fn status(&self) -> Status {
        let core = &self.core;
        let marks = core.outlet.watch.marks();
        Status {
            name: core.name.to_owned(),
            instance: core.instance.as_str().to_owned(),
            version: core.version.to_owned(),
            pid: std::process::id(),
            state: shown(core.state()),
            started: rfc3339(core.started),
            uptime_ms: core.uptime_ms(),
            state_folder: core.folders.instance(&core.instance).display().to_string(),
            epoch: marks.epoch.0,
            committed: marks.committed.0,
            durable: marks.durable.0,
            trimmed: marks.trimmed.0,
            waiting: core.waits.status(),
            last_death: core.last_death.clone(),
            subscriptions: self.subscriptions(),
        }
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let state = &self.core.folders.state;
        self.core
            .acks()
            .iter()
            .map(|acks| Subscription {
                name: acks.subscription.to_string(),
                journal: acks.journal.to_string(),
                acknowledged: acks.position().map_or(0, |position| position.next.0),
                committed: journal::read_marks(&state.join(&*acks.journal))
                    .ok()
                    .flatten()
                    .map_or(0, |marks| marks.committed.0),
                parked: acks.parked(),
            })
            .collect()
    }

    async fn health(&self) -> Health {
        let state = self.core.state();
        let broken = match state {
            State::Starting => Some("it is still starting".to_owned()),
            State::Stopping => Some("it is stopping".to_owned()),
            State::Ready => match self.core.outlet.watch.check() {
                Err(error) => Some(error.to_string()),
                Ok(()) if self.core.pulse.beats(PULSE_TIMEOUT).await => None,
                Ok(()) => Some(format!("the application's loop has not moved for {PULSE_TIMEOUT:?}")),
            },
        };
        // What is broken in the process matters more: that it waits is for those whom no restart helps.
        let waiting = if broken.is_none() { self.core.waits.status() } else { Vec::new() };
        let reason = broken.or_else(|| self.core.waits.reason());
        Health {
            ready: state == State::Ready,
            healthy: reason.is_none(),
            reason,
            waiting,
            uptime_ms: self.core.uptime_ms(),
            parked: self.core.acks().iter().map(|acks| acks.parked()).sum(),
            open_letters: self.core.outlet.letters.count(self.core.outlet.watch.marks().trimmed),
            last_death: self.core.last_death.clone(),
        }
    }
}

const fn shown(state: State) -> process::State {
    match state {
        State::Starting => process::State::Starting,
        State::Ready => process::State::Ready,
        State::Stopping => process::State::Stopping,
    }
}

/// Whether the application's runtime still turns: it is asked, and answers.
#[derive(Debug)]
pub(crate) struct Pulse {
    ask: mpsc::Sender<oneshot::Sender<()>>,
}

impl Pulse {
    /// The second half is to be run on the application's runtime.
    pub(crate) fn new() -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(16);
        let answer = async move {
            while let Some(reply) = asked.recv().await {
                let _ = reply.send(());
            }
        };
        (Self { ask }, answer)
    }

    async fn beats(&self, patience: Duration) -> bool {
        let (reply, replied) = oneshot::channel();
        let asked = async { self.ask.send(reply).await.is_ok() && replied.await.is_ok() };
        tokio::time::timeout(patience, asked).await.unwrap_or(false)
    }
}
