//! What a process's handle, its subscriptions and its socket share.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use journal::Cursors;
use tokio_util::sync::CancellationToken;

use crate::acks::Acks;
use crate::beyond::Reach;
use crate::death::Death;
use crate::error::{Error, Result};
use crate::folders::Folders;
use crate::letters::Desk;
use crate::names::Instance;
use crate::outlet::Outlet;
use crate::services::Pulse;
use crate::settings::{FaultSettings, SubscriptionSettings};
use crate::waiting::Waits;

/// The inside of a process.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) instance: Instance,
    pub(crate) folders: Folders,
    pub(crate) outlet: Outlet,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) hearing: Hearing,
    pub(crate) shutdown: CancellationToken,
    /// Asks the application's runtime whether it still turns.
    pub(crate) pulse: Pulse,
    /// What keeps the process from its work.
    pub(crate) waits: Waits,
    /// What it died of before this life.
    pub(crate) last_death: Option<Death>,
    pub(crate) began: Instant,
    pub(crate) started: SystemTime,
    state: AtomicU8,
    /// Follows `shutdown`: a load, where asking the token takes a lock.
    stopping: AtomicBool,
    /// The application has ended: the stop that follows is its own.
    has_ended: AtomicBool,
    /// Subscriptions that are being read. Locked when one begins, ends or is asked about.
    readings: Mutex<Vec<Weak<ReadingState>>>,
}

/// How far a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Ready,
    Stopping,
}

/// What holds for every subscription of the process.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub(crate) retries: Retries,
    /// Faults that are asked for.
    pub(crate) faults: FaultSettings,
    /// What all journals of all subscriptions may remember together.
    pub(crate) reach: Arc<Reach>,
    /// Size of the own journal's segments: they begin with what is acknowledged.
    pub(crate) segment_bytes: u64,
    /// How many of that size the own journal may keep at most, if its bytes are limited.
    pub(crate) segments_max: Option<u64>,
}

/// When a refused delivery comes again, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    pub(crate) attempts_max: u32,
    backoff: Duration,
    backoff_max: Duration,
}

impl Retries {
    pub(crate) fn new(settings: &SubscriptionSettings) -> Self {
        // The cursor counts to 65,535 and stays there.
        let attempts_max = settings.max_attempts.get().min(u32::from(u16::MAX) - 1);
        Self { attempts_max, backoff: settings.backoff, backoff_max: settings.backoff_max }
    }

    pub(crate) const fn longest_pause(&self) -> Duration {
        self.backoff_max
    }

    /// The pause after so many events in a row have failed, beyond those that may.
    pub(crate) fn pause_in_row(&self, events: u32) -> Duration {
        self.backoff.saturating_mul(1 << events.min(20)).min(self.backoff_max)
    }

    /// The pause after a failed attempt; none after the last.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        if attempt >= self.attempts_max {
            return Duration::ZERO;
        }
        let doubled = attempt.saturating_sub(1).min(20);
        self.backoff.saturating_mul(1 << doubled).min(self.backoff_max)
    }
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "called once; a struct would repeat the fields")]
    pub(crate) fn new(
        name: &'static str,
        version: &'static str,
        instance: Instance,
        folders: Folders,
        outlet: Outlet,
        cursors: Arc<Cursors>,
        hearing: Hearing,
        shutdown: CancellationToken,
        pulse: Pulse,
        waits: Waits,
        began: Instant,
    ) -> Self {
        let folder = folders.instance(&instance);
        let last_death = Death::read(&folder, outlet.watch.marks().epoch.0.wrapping_sub(1));
        Self {
            name,
            version,
            instance,
            folders,
            outlet,
            cursors,
            hearing,
            shutdown,
            pulse,
            waits,
            last_death,
            began,
            started: SystemTime::now(),
            state: AtomicU8::new(State::Starting as u8),
            stopping: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            readings: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        if self.is_stopping() {
            return State::Stopping;
        }
        if self.state.load(Ordering::Acquire) == State::Ready as u8 { State::Ready } else { State::Starting }
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn set_ready(&self) {
        self.state.store(State::Ready as u8, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The process is to stop, and with it deliveries. To be called on a thread that does not hang.
    pub(crate) fn stop_deliveries(&self) {
        if !self.has_ended.load(Ordering::Acquire) {
            self.forgive_held();
        }
        self.stop_now();
    }

    /// The application has ended. If it has failed although nobody told it to stop, what it held counts as failed.
    pub(crate) fn end(&self, has_failed: bool) {
        self.has_ended.store(true, Ordering::Release);
        // It may have heard of a stop before the thread did that notes it.
        if !has_failed || self.shutdown.is_cancelled() {
            self.forgive_held();
        }
    }

    /// Notes that what the process holds, from here on to its end, is not to blame for that end. It is noted as soon as a
    /// stop begins: nobody knows whether the process gets to finish it.
    fn forgive_held(&self) {
        for acks in self.acks() {
            if let Some(beyond) = acks.beyond() {
                beyond.note_stop();
            }
        }
        // Last: the table of cursors is where others see that all is noted.
        if let Err(error) = self.cursors.note_stop() {
            tracing::warn!(%error, "a stop cannot be noted: what is in hand counts one more attempt");
        }
    }

    pub(crate) fn stop_now(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether a subscription has a cursor on any journal.
    pub(crate) fn known_journals(&self, subscription: &str) -> Result<bool> {
        let cursors = journal::read_cursors(&self.folders.instance(&self.instance))?;
        Ok(cursors.iter().any(|cursor| cursor.subscription == subscription))
    }

    /// Makes the caller the only reader of a subscription in this process; the process is the only
    /// one that holds the instance.
    pub(crate) fn begin_reading(&self, name: &str) -> Result<Reading> {
        let mut readings = self.readings();
        readings.retain(|reading| reading.strong_count() > 0);
        if readings.iter().filter_map(Weak::upgrade).any(|reading| reading.name == name) {
            let reason = "is being read in this process already: give one of the two another name".to_owned();
            return Err(Error::Subscription { name: name.to_owned(), reason });
        }
        let state =
            Arc::new(ReadingState { name: name.to_owned(), acks: Mutex::default(), desk: Arc::default() });
        readings.push(Arc::downgrade(&state));
        Ok(Reading(state))
    }

    /// Every journal of every subscription that is being read.
    pub(crate) fn acks(&self) -> Vec<Arc<Acks>> {
        let readings: Vec<_> = self.readings().iter().filter_map(Weak::upgrade).collect();
        readings
            .iter()
            .flat_map(|reading| reading.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
            .collect()
    }

    /// The names of the subscriptions that are being read.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.readings().iter().filter_map(Weak::upgrade).map(|reading| reading.name.clone()).collect()
    }

    /// Where orders for a subscription go; `None` if it is not being read.
    pub(crate) fn desk(&self, subscription: &str) -> Option<Arc<Desk>> {
        let readings = self.readings();
        let mut reading = readings.iter().filter_map(Weak::upgrade);
        reading.find(|reading| reading.name == subscription).map(|reading| Arc::clone(&reading.desk))
    }

    fn readings(&self) -> MutexGuard<'_, Vec<Weak<ReadingState>>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a subscription while it lives.
#[derive(Debug)]
pub(crate) struct Reading(Arc<ReadingState>);

#[derive(Debug)]
struct ReadingState {
    name: String,
    acks: Mutex<Vec<Weak<Acks>>>,
    desk: Arc<Desk>,
}

impl Reading {
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.0.desk
    }

    /// Adds a journal that is read, in the place of what was known of it.
    pub(crate) fn add(&self, acks: &Arc<Acks>) {
        let mut known = self.0.lock();
        known.retain(|known| known.upgrade().is_some_and(|known| known.journal != acks.journal));
        known.push(Arc::downgrade(acks));
    }
}

impl ReadingState {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Acks>>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use journal::{Options, Writer};

    use super::*;
    use crate::beyond::Reach;

    /// Whether what is held is forgiven as the application fails.
    fn forgives(is_told_to_stop: bool) -> bool {
        let home = tempfile::tempdir().unwrap();
        let [state, runtime, config, credentials] = [(); 4].map(|()| home.path().to_owned());
        let folders = Folders { state, runtime, config, credentials };
        let instance = Instance::new("sorter").unwrap();
        let folder = folders.instance(&instance);
        let options = Options::default();
        let writer = Writer::open(&folder, &options).unwrap();
        let cursors = Cursors::open(&folder, &writer).unwrap();
        let table = || fs::read(journal::cursors_path(&folder)).unwrap();
        let hearing = Hearing {
            retries: Retries::new(&SubscriptionSettings::default()),
            faults: FaultSettings::default(),
            reach: Reach::new(options.segment_bytes),
            segment_bytes: options.segment_bytes,
            segments_max: None,
        };
        let waits = Waits::default();
        let outlet = Outlet::new(writer, options.sync, &waits);
        let (shutdown, pulse) = (CancellationToken::new(), Pulse::new().0);
        let (name, version, began) = ("sorter", "0", Instant::now());
        let core = Core::new(
            name, version, instance, folders, outlet, cursors, hearing, shutdown, pulse, waits, began,
        );
        let before = table();
        if is_told_to_stop {
            core.shutdown.cancel();
        }
        core.end(true);
        table() != before
    }

    #[test]
    fn a_failure_because_of_a_stop_is_forgiven_though_nobody_has_noted_the_stop_yet() {
        assert!(forgives(true));
        assert!(!forgives(false));
    }
}
