//! One fault at one process, from the signal until it has caught up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use procession::names::Instance;
use rustix::process::Signal;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;

use super::fault::Kind;
use super::grip::{Grip, Refused};
use super::report::{Fault, Peak};
use super::swarm::{Goal, Subscriptions};
use crate::home::Home;
use crate::lag::Lag;
use crate::socket;

/// For an answer about its health: a process that is well answers in far less.
const HEALTH_PATIENCE: Duration = Duration::from_millis(1_500);

/// A fault whose process isn't well again yet.
pub(super) struct Case {
    kind: Kind,
    hold: Duration,
    /// Since the beginning of it all.
    at: Duration,
    began: Instant,
    grip: Grip,
    epoch: u32,
    has_ended: bool,
    /// Since when nothing keeps it from being well.
    released: Option<Instant>,
    asked: Option<oneshot::Receiver<Option<Instant>>>,
    ready: Option<Instant>,
    goals: Vec<Goal>,
    peaks: BTreeMap<(String, String), u64>,
    redeliveries: u64,
}

impl Case {
    /// Does it.
    pub(super) fn begin(folder: &Path, kind: Kind, hold: Duration, at: Duration) -> Result<Self, Refused> {
        let mut grip = Grip::take(folder)?;
        let epoch = epoch(folder);
        match kind {
            Kind::Kill => grip.signal(Signal::KILL)?,
            Kind::Restart => grip.signal(Signal::TERM)?,
            Kind::Stop | Kind::Slow => grip.stop()?,
        }
        let began = Instant::now();
        Ok(Self {
            kind,
            hold,
            at,
            began,
            grip,
            epoch,
            has_ended: false,
            released: kind.ends_process().then_some(began),
            asked: None,
            ready: None,
            goals: Vec::new(),
            peaks: BTreeMap::new(),
            redeliveries: 0,
        })
    }

    /// Looks at the process, and does what is due. Returns what it came to once it is over.
    pub(super) fn step(
        &mut self,
        home: &Home,
        instance: &Instance,
        subscriptions: &Subscriptions,
        patience: Duration,
    ) -> Option<Fault> {
        let now = Instant::now();
        let folder = home.folder(instance);
        self.stop_or_resume(now);
        if !self.has_ended && self.grip.has_ended() {
            self.has_ended = true;
            self.redeliveries = in_hand(&folder, subscriptions);
        }
        let lags = subscriptions.lags(home, instance);
        for Lag { subscription, journal, behind, .. } in &lags {
            let peak = self.peaks.entry((subscription.clone(), journal.clone())).or_default();
            *peak = (*peak).max(behind.unwrap_or_default());
        }
        let released = self.released?;
        if self.ready.is_none() && self.is_ready(home, instance) {
            self.goals = Goal::all(&lags);
        }
        let behind = self.goals.iter().find(|goal| !goal.is_reached(&lags));
        let late = now.duration_since(released) > patience;
        let trouble = match (self.ready, behind) {
            (Some(_), None) => None,
            _ if !late => return None,
            (Some(_), Some(goal)) => Some(format!("{goal} within {patience:.0?}")),
            (None, _) if self.kind.ends_process() && epoch(&folder) == self.epoch => {
                let hint = if self.kind == Kind::Restart {
                    ": is it only started again after failures?"
                } else {
                    ""
                };
                Some(format!("it did not come back within {patience:.0?}{hint}"))
            }
            (None, _) => Some(format!("it was not ready within {patience:.0?}")),
        };
        Some(self.to_fault(instance, now, trouble))
    }

    /// Lets the process go on, whatever was to be done to it.
    pub(super) fn resume(&mut self) {
        self.grip.resume();
        self.hold = self.hold.min(self.began.elapsed());
    }

    /// What it comes to if nobody waits for the end of it.
    pub(super) fn give_up(mut self, instance: &Instance) -> Fault {
        self.grip.resume();
        self.to_fault(instance, Instant::now(), Some("it was not ready before the end".to_owned()))
    }

    fn stop_or_resume(&mut self, now: Instant) {
        if self.kind.ends_process() || self.released.is_some() {
            return;
        }
        let elapsed = now.duration_since(self.began);
        let still = self.kind.stands_still(elapsed, self.hold);
        if still && !self.grip.is_stopped() {
            // If that fails it has ended, and whether it comes back is seen below.
            let _ = self.grip.stop();
        } else if !still {
            self.grip.resume();
        }
        if elapsed >= self.hold {
            self.released = Some(now);
        }
    }

    /// Whether it says that it is ready; asked without waiting for the answer.
    fn is_ready(&mut self, home: &Home, instance: &Instance) -> bool {
        if let Some(asked) = &mut self.asked {
            match asked.try_recv() {
                Err(TryRecvError::Empty) => return false,
                Ok(Some(at)) => {
                    self.ready = Some(at);
                    return true;
                }
                Ok(None) | Err(TryRecvError::Closed) => self.asked = None,
            }
        }
        let folder = home.folder(instance);
        // The one that is about to end may still answer.
        let is_back = !self.kind.ends_process() || epoch(&folder) > self.epoch;
        if is_back && journal::is_locked(&folder).unwrap_or(false) {
            let (answer, asked) = oneshot::channel();
            let (home, instance) = (home.clone(), instance.clone());
            tokio::spawn(async move {
                let health = socket::health(&home, &instance, HEALTH_PATIENCE).await;
                let well = health.is_ok_and(|health| health.ready && health.healthy);
                // Nobody waits for it any more at the very end.
                let _ = answer.send(well.then(Instant::now));
            });
            self.asked = Some(asked);
        }
        false
    }

    fn to_fault(&self, instance: &Instance, now: Instant, trouble: Option<String>) -> Fault {
        let since = |at: Instant| self.released.map(|released| at.saturating_duration_since(released));
        let peaks = self.peaks.iter().map(|((subscription, journal), records)| Peak {
            subscription: subscription.clone(),
            journal: journal.clone(),
            records: *records,
        });
        Fault {
            at: self.at,
            process: instance.to_string(),
            kind: self.kind,
            held: self.hold,
            ready: self.ready.and_then(since),
            caught_up: if trouble.is_none() { since(now) } else { None },
            lag_peaks: peaks.collect(),
            redeliveries: self.redeliveries,
            trouble,
        }
    }
}

fn epoch(folder: &Path) -> u32 {
    journal::read_marks(folder).ok().flatten().map_or(0, |marks| marks.epoch.0)
}

/// Deliveries that a process had taken and not acknowledged when it died: they come again.
fn in_hand(folder: &Path, subscriptions: &Subscriptions) -> u64 {
    let cursors = journal::read_cursors(folder).unwrap_or_default();
    let in_hand = cursors.iter().filter(|cursor| {
        subscriptions.have(&cursor.subscription, &cursor.journal)
            && cursor.trying.is_some_and(|offset| offset >= cursor.position.next)
    });
    in_hand.count() as u64
}
