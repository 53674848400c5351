//! A model in a process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::GapReason;

use super::declare::{Declaration, declare};
use super::fold::FoldOptions;
use super::intake::Selection;
use super::model::{Input, Model, Output};
use super::publishing::Committed;
use super::replay::Since;
use super::running::Running;
use super::time::EventTime;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::event::Any;
use crate::names;
use crate::subscribe::{Heard, Sources, Subscribe, Subscription};

/// So many inputs that are there at once are dealt with in one batch: a model's whole correction, mostly, so that
/// nothing follows from half of it.
const BATCH_INPUTS_MAX: usize = 2048;

/// What has changed in a running model.
#[derive(Debug)]
pub enum Change<'a, M> {
    /// A key's state, after everything that was heard.
    State {
        /// The key.
        key: &'a [u8],
        /// Its model.
        state: &'a M,
    },
    /// A key was forgotten: its model was over.
    Over {
        /// The key.
        key: &'a [u8],
    },
    /// Nothing before this will change any more.
    Final(EventTime),
}

/// Is told of changes after they are published.
pub(super) type Watch<M> = Box<dyn FnMut(Change<'_, M>) + Send>;

/// A model being described; [`Self::run`] runs it.
#[must_use = "`run` it"]
pub struct RunModel<M> {
    core: Arc<Core>,
    name: String,
    patterns: Vec<String>,
    moves_time_forward: bool,
    pub(super) options: RunOptions,
    watch: Option<Watch<M>>,
}

/// How a model is run.
#[derive(Debug, Clone)]
pub(super) struct RunOptions {
    pub(super) lateness: Duration,
    pub(super) wait: Duration,
    pub(super) idle_after: Option<Duration>,
    pub(super) ahead_max: Option<Duration>,
    pub(super) dead_after: Duration,
    pub(super) gone_after: Duration,
    pub(super) final_every: Duration,
    pub(super) snapshot_inputs: u64,
    pub(super) fold: FoldOptions,
}

impl<M> fmt::Debug for RunModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunModel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<M: Model> RunModel<M>
where
    M::Input: Input,
{
    pub(crate) fn new(core: Arc<Core>, name: &str) -> Self {
        Self {
            core,
            name: name.to_owned(),
            patterns: Vec::new(),
            moves_time_forward: false,
            options: RunOptions {
                lateness: Duration::from_secs(1),
                wait: Duration::ZERO,
                idle_after: None,
                ahead_max: None,
                dead_after: Duration::from_secs(5),
                gone_after: Duration::from_secs(7 * 86_400),
                final_every: Duration::from_millis(50),
                snapshot_inputs: 100_000,
                fold: FoldOptions::default(),
            },
            watch: None,
        }
    }

    /// Its inputs: `"basket/item-added"`, `"*/item-added"`, or several such patterns.
    pub fn hear(mut self, sources: impl Sources) -> Self {
        self.patterns.extend(sources.patterns());
        self
    }

    /// How much earlier than the sources' latest an event may be and still be taken into account: what lies further
    /// back is final. A second by default.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.options.lateness = lateness;
        self
    }

    /// How long an input is held for earlier ones, so that they need not be corrected. None by default: everything is said
    /// at once, and corrected if need be.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.options.wait = wait;
        self
    }

    /// How much later than it was recorded an event may have happened: one that lies further ahead is parked in the
    /// dead-letter topic, and so is such a heartbeat. To be set where event times are those of real clocks: a wrong one far
    /// ahead is kept until its time has come, with all that its journal has said since, and such a heartbeat makes all that
    /// follows too late. Without it everything is believed: the times may be those of a recording, or of a simulation.
    pub fn ahead_max(mut self, ahead_max: Duration) -> Self {
        self.options.ahead_max = Some(ahead_max);
        self
    }

    /// After so long a silence a live source does not hold time back any more. Without it, never: sources say
    /// heartbeats.
    pub fn idle_after(mut self, silence: Duration) -> Self {
        self.options.idle_after = Some(silence);
        self
    }

    /// After so long without anybody who holds its lock, a source counts as dead, and does not hold time back any more.
    /// Long enough for it to be started again by default: 5 seconds. What it says later may be too late. That is about its
    /// process: a journal that is gone, and with it what was heard of it, holds final back until it is back or forgotten.
    pub fn dead_after(mut self, absence: Duration) -> Self {
        self.options.dead_after = absence;
        self
    }

    /// After so long without anybody who holds its lock, a source that is a model does not hold final back any more:
    /// nothing of it will be taken back. Seven days by default. One whose state folder is removed leaves at once.
    pub fn gone_after(mut self, absence: Duration) -> Self {
        self.options.gone_after = absence;
        self
    }

    /// How often `_final` is said, at most. 50 ms by default.
    pub fn final_every(mut self, period: Duration) -> Self {
        self.options.final_every = period;
        self
    }

    /// After how many inputs the state is written to a file that spares reading them again. 100,000 by default. It is
    /// written earlier where the own journal's bytes are limited, and would be full of what is needed again.
    pub fn snapshot_after(mut self, inputs: u64) -> Self {
        self.options.snapshot_inputs = inputs.max(1);
        self
    }

    /// How its fold works.
    pub fn fold(mut self, options: FoldOptions) -> Self {
        self.options.fold = options;
        self
    }

    /// Each of its outputs is later than the input that it follows from, so it may be part of a circle.
    pub fn moves_time_forward(mut self) -> Self {
        self.moves_time_forward = true;
        self
    }

    /// Is told each state that changes, after what follows from it was published; at the start all of them.
    pub fn watch(mut self, watch: impl FnMut(Change<'_, M>) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Runs the model until the process is to stop.
    ///
    /// # Errors
    /// [`Error::Subscription`] for a description that cannot work: no inputs, a circle of models, a second model in the
    /// process; those of publishing and subscribing.
    pub async fn run(self) -> Result<()> {
        let Self { core, name, patterns, moves_time_forward, options, watch } = self;
        let refuse = |reason: String| Error::Subscription { name: name.clone(), reason };
        names::check_subscription(&name)?;
        let selection = Selection::new(patterns, core.instance.as_str())
            .map_err(refuse)?
            .with_ahead_max(options.ahead_max);
        let _only = core.begin_reading("_model").map_err(|_| {
            refuse("another model runs in this process: give each a process of its own".to_owned())
        })?;
        let says = M::Output::TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
        let hears = selection.inputs().to_vec();
        declare(&core, &Declaration { model: name.clone(), hears, says, moves_time_forward })?;
        let subscription = Subscribe::<Any>::new(Arc::clone(&core), selection.patterns())
            .named(&name)
            .keeping_diverged()
            .await?;
        let mut running = Running::<M>::new(core, &name, selection, options, watch);
        if running.rebuild(Since::Start).await? { turn(&mut running, subscription).await } else { Ok(()) }
    }
}

/// Hears and says, until the process is to stop.
async fn turn<M: Model>(running: &mut Running<M>, mut subscription: Subscription<Any>) -> Result<()>
where
    M::Input: Input,
{
    loop {
        let heard = tokio::select! {
            biased;
            heard = subscription.hear() => match heard? {
                Some(heard) => Some(heard),
                None => break,
            },
            () = sleep_until(running.due()) => None,
        };
        let mut next = heard;
        let (mut taken, mut gone, mut broken) = (0, None, None);
        let inputs = running.inputs;
        while let Some(heard) = next.take() {
            taken += 1;
            // What a process has died over comes first after that: dealt with alone, it is found out.
            let alone = match heard {
                Heard::Delivery(delivery) => {
                    let alone = delivery.attempt > 1 && taken == 1;
                    if let Err(reason) = running.hear(delivery)? {
                        broken = Some(reason);
                        break;
                    }
                    alone
                }
                Heard::Missing(missing) => {
                    running.miss(&missing);
                    if missing.gap.reason == GapReason::Diverged {
                        gone = Some(missing);
                        break;
                    }
                    false
                }
            };
            if alone || taken == BATCH_INPUTS_MAX || running.breaker.is_open() {
                break;
            }
            next = subscription.try_hear()?;
        }
        let has_inputs = running.inputs > inputs;
        let committed = match broken {
            Some(reason) => Committed::Broken(reason),
            None => running.commit(taken < BATCH_INPUTS_MAX, gone.is_some()).await?,
        };
        match committed {
            Committed::Whole => {
                if !running.note_outcome(has_inputs).await {
                    break;
                }
            }
            Committed::Stopped => return Ok(()),
            Committed::Broken(reason) => {
                if !running.isolate(&reason).await? {
                    return Ok(());
                }
            }
        }
        let since = match &gone {
            Some(missing) => Some(Since::Gap(missing)),
            None => running.is_one_back().then_some(Since::Return),
        };
        if let Some(since) = since
            && !running.begin_again(since).await?
        {
            return Ok(());
        }
        if let Some(missing) = gone {
            // Only now: should the process die before, it finds again what is gone.
            subscription.pass_diverged(&missing)?;
        }
    }
    running.end().await
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
