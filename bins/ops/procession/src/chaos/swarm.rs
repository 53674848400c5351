//! The processes that run, and what is seen of them while faults happen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use journal::Marks;
use procession::interfaces::process::{GetStatus, Status};
use procession::names::Instance;

use super::case::Case;
use super::check::Loss;
use super::fault::Kind;
use super::grip::{Grip, Refused};
use super::names::Names;
use super::report::Fault;
use crate::home::Home;
use crate::lag::{self, Lag};
use crate::report::failure;
use crate::socket;

/// Marks and cursors of everybody are looked at once in so many steps.
const LOOK_EVERY: u32 = 10;
/// For a process to say what it subscribes to.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// Everybody that ran at the beginning.
pub(super) struct Swarm {
    home: Home,
    /// Those that faults happen to.
    pub(super) targets: Vec<Target>,
    watched: Vec<Watched>,
    goals: Vec<(usize, Goal)>,
    losses: Vec<Loss>,
    steps: u32,
}

/// A process that faults happen to.
pub(super) struct Target {
    pub(super) instance: Instance,
    folder: std::path::PathBuf,
    subscriptions: Subscriptions,
    case: Option<Case>,
    /// It did not get well again: it is left alone.
    is_given_up: bool,
}

/// Somebody whose journal and cursors are looked at.
struct Watched {
    instance: Instance,
    subscriptions: Subscriptions,
    marks: Option<Marks>,
    /// Subscriptions that are not behind what is kept, by journal.
    held: BTreeSet<(String, String)>,
}

/// The subscriptions of a process that are in use; its cursors may be older. `None`: it didn't say.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriptions(Option<BTreeSet<(String, String)>>);

/// A place that a subscription must come to.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    subscription: String,
    journal: String,
    offset: u64,
}

impl Swarm {
    /// Finds what runs.
    pub(super) async fn find(home: &Home, only: &[Names], without: &[Names]) -> Result<Self> {
        home.require_state()?;
        let mut running = home.instances()?;
        running.retain(|instance| journal::is_locked(&home.folder(instance)).unwrap_or(false));
        if running.is_empty() {
            let what = format!("nothing runs in {}", home.folders.state.display());
            return Err(failure(
                what,
                "start the swarm, or set PROCESSION_STATE to the folder of one that runs",
            ));
        }
        for (option, names) in [("--only", only), ("--without", without)] {
            if let Some(name) = names.iter().find(|name| !running.iter().any(|instance| name.take(instance)))
            {
                let known: Vec<_> = running.iter().map(Instance::as_str).collect();
                let what = format!("no process that runs is meant by {option} {}", name.as_str());
                return Err(failure(what, format!("one of {}", known.join(", "))));
            }
        }
        let mut swarm = Self {
            home: home.clone(),
            targets: Vec::new(),
            watched: Vec::new(),
            goals: Vec::new(),
            losses: Vec::new(),
            steps: 0,
        };
        for instance in running {
            let subscriptions = Subscriptions::ask(home, &instance).await;
            let is_meant = (only.is_empty() || only.iter().any(|name| name.take(&instance)))
                && !without.iter().any(|name| name.take(&instance));
            if is_meant && may_be_touched(home, &instance)? {
                let (folder, subscriptions) = (home.folder(&instance), subscriptions.clone());
                let instance = instance.clone();
                swarm.targets.push(Target {
                    instance,
                    folder,
                    subscriptions,
                    case: None,
                    is_given_up: false,
                });
            }
            swarm.watched.push(Watched { instance, subscriptions, marks: None, held: BTreeSet::new() });
        }
        if swarm.targets.is_empty() {
            return Err(failure("no process is left to do anything to", "leave out fewer by --without"));
        }
        Ok(swarm)
    }

    /// Everybody whose journal is watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Instance> {
        self.watched.iter().map(|watched| &watched.instance)
    }

    /// Targets that a fault may happen to now.
    pub(super) fn free(&self) -> Vec<usize> {
        let is_free = |target: &Target| {
            let lives = || journal::is_locked(&target.folder).unwrap_or(false);
            target.case.is_none() && !target.is_given_up && lives()
        };
        (0..self.targets.len()).filter(|at| is_free(&self.targets[*at])).collect()
    }

    /// Looks at everybody; returns the faults that are over.
    pub(super) fn step(&mut self, patience: Duration) -> Vec<Fault> {
        let home = &self.home;
        let over = self.targets.iter_mut().filter_map(|target| target.step(home, patience)).collect();
        if self.steps.is_multiple_of(LOOK_EVERY) {
            for watched in &mut self.watched {
                watched.look(&self.home, &mut self.losses);
            }
        }
        self.steps = self.steps.wrapping_add(1);
        over
    }

    /// Nobody stays stopped.
    pub(super) fn resume_all(&mut self) {
        self.targets.iter_mut().filter_map(|target| target.case.as_mut()).for_each(Case::resume);
    }

    pub(super) fn has_open_cases(&self) -> bool {
        self.targets.iter().any(|target| target.case.is_some())
    }

    /// Faults that nobody waits for any more.
    pub(super) fn take_open(&mut self) -> Vec<Fault> {
        let open =
            self.targets.iter_mut().filter_map(|target| Some(target.case.take()?.give_up(&target.instance)));
        open.collect()
    }

    /// From now on everybody that runs is to come to the ends that journals have now.
    pub(super) fn set_goals(&mut self) {
        let mut goals = Vec::new();
        for (at, watched) in self.watched.iter().enumerate() {
            if journal::is_locked(&self.home.folder(&watched.instance)).unwrap_or(false) {
                let lags = watched.subscriptions.lags(&self.home, &watched.instance);
                goals.extend(Goal::all(&lags).into_iter().map(|goal| (at, goal)));
            }
        }
        self.goals = goals;
    }

    /// Whether they have; those that have are not asked again.
    pub(super) fn is_caught_up(&mut self) -> bool {
        let (home, watched) = (&self.home, &self.watched);
        let mut lags: BTreeMap<usize, Vec<Lag>> = BTreeMap::new();
        self.goals.retain(|(at, goal)| {
            let Watched { instance, subscriptions, .. } = &watched[*at];
            !goal.is_reached(lags.entry(*at).or_insert_with(|| subscriptions.lags(home, instance)))
        });
        self.goals.is_empty()
    }

    /// What was lost, as far as marks and cursors tell.
    pub(super) fn take_losses(&mut self) -> Vec<Loss> {
        let late = std::mem::take(&mut self.goals);
        let late = late.into_iter().map(|(at, goal)| Loss::new(&self.watched[at].instance, goal.to_string()));
        let mut losses = std::mem::take(&mut self.losses);
        losses.extend(late);
        losses
    }
}

/// False for those that are left alone without being asked for.
fn may_be_touched(home: &Home, instance: &Instance) -> Result<bool> {
    match Grip::take(&home.folder(instance)) {
        Ok(_) => Ok(true),
        Err(Refused::Permission(pid)) => Err(failure(
            format!("no permission to signal `{instance}` (process {pid})"),
            format!("run this as its user, or leave it out by --without {instance}"),
        )),
        // It may be starting just now: it is tried again when it is its turn.
        Err(Refused::NotHolder(_)) => Ok(true),
        Err(refused) => {
            note!("{instance} is left alone: {refused}");
            Ok(false)
        }
    }
}

impl Target {
    /// Begins a fault.
    pub(super) fn begin(&mut self, kind: Kind, hold: Duration, at: Duration) -> Result<(), Refused> {
        self.case = Some(Case::begin(&self.folder, kind, hold, at)?);
        Ok(())
    }

    fn step(&mut self, home: &Home, patience: Duration) -> Option<Fault> {
        let fault = self.case.as_mut()?.step(home, &self.instance, &self.subscriptions, patience)?;
        self.case = None;
        self.is_given_up |= fault.trouble.is_some();
        Some(fault)
    }
}

impl Watched {
    fn look(&mut self, home: &Home, losses: &mut Vec<Loss>) {
        let now = journal::read_marks(&home.folder(&self.instance)).ok().flatten();
        if let Some(now) = now
            && let Some(before) = self.marks.replace(now)
        {
            if now.journal != before.journal {
                losses.push(Loss::new(&self.instance, "its journal was replaced by another".to_owned()));
            } else if now.committed < before.committed {
                let what = format!("it had {} records, and has {} now", before.committed, now.committed);
                losses.push(Loss::new(&self.instance, what));
            }
        }
        for lag in self.subscriptions.lags(home, &self.instance) {
            let Ok(Some(marks)) = journal::read_marks(&home.folders.state.join(&lag.journal)) else {
                continue;
            };
            let key = (lag.subscription, lag.journal);
            if lag.acknowledged >= marks.trimmed.0 {
                self.held.insert(key);
            } else if self.held.remove(&key) {
                let (subscription, journal) = key;
                let (from, to) = (lag.acknowledged, marks.trimmed);
                let what = format!(
                    "{subscription} had not read {from} up to {to} of {journal} when they were dropped"
                );
                losses.push(Loss::new(&self.instance, what));
            }
        }
    }
}

impl Subscriptions {
    async fn ask(home: &Home, instance: &Instance) -> Self {
        let status = async {
            let mut client = socket::connect(home, instance, STATUS_PATIENCE).await.ok()?;
            socket::ask(&mut client, &GetStatus {}).await.ok()
        };
        let pairs =
            |status: Status| status.subscriptions.into_iter().map(|one| (one.name, one.journal)).collect();
        Self(status.await.map(pairs))
    }

    pub(super) fn have(&self, subscription: &str, journal: &str) -> bool {
        let is_it = |(name, source): &(String, String)| name == subscription && source == journal;
        self.0.as_ref().is_none_or(|known| known.iter().any(is_it))
    }

    /// How far each is; none where the cursors can't be read.
    pub(super) fn lags(&self, home: &Home, instance: &Instance) -> Vec<Lag> {
        let mut lags = lag::of_subscriber(home, instance).unwrap_or_default();
        lags.retain(|lag| self.have(&lag.subscription, &lag.journal));
        lags
    }
}

impl Goal {
    /// The ends of all journals as they are now.
    pub(super) fn all(lags: &[Lag]) -> Vec<Self> {
        let goal = |lag: &Lag| {
            let (subscription, journal) = (lag.subscription.clone(), lag.journal.clone());
            Some(Self { subscription, journal, offset: lag.committed? })
        };
        lags.iter().filter_map(goal).collect()
    }

    pub(super) fn is_reached(&self, lags: &[Lag]) -> bool {
        let is_mine = |lag: &&Lag| lag.subscription == self.subscription && lag.journal == self.journal;
        lags.iter().find(is_mine).is_some_and(|lag| lag.acknowledged >= self.offset)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, journal, offset } = self;
        write!(f, "{subscription} did not catch up with {journal} up to {offset}")
    }
}
