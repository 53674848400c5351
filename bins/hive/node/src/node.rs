//! The node: one chain, the faults that are on, and what was asked of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::chain::{Chain, Kept};
use crate::faults::{Effects, Fault, FaultSet, Listed};
use crate::settings::Settings;
use crate::view::View;

/// Stores what must outlive the process.
pub(crate) type Keep = Box<dyn Fn(&Kept) -> Result<()> + Send + Sync>;

pub(crate) struct Node {
    chain: Chain,
    /// A lock, because the control socket is served by a thread of its own. It is never held across
    /// an await, nor while a block is made.
    state: Mutex<State>,
    /// Changes when a fault is set or cleared.
    changed: watch::Sender<()>,
}

struct State {
    /// `None` once the node has retired.
    keep: Option<Keep>,
    faults: FaultSet,
    kept: Kept,
    /// Requests by method; only methods that there are, so it stays small.
    requests: BTreeMap<&'static str, u64>,
    /// The latest time seen: a clock that is set back must not lower the head.
    latest: Timestamp,
}

/// What the node says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) source: &'static str,
    pub(crate) length: Option<u32>,
    pub(crate) head: u32,
    pub(crate) head_id: String,
    pub(crate) irreversible: u32,
    pub(crate) genesis: Timestamp,
    pub(crate) down: bool,
    pub(crate) requests: Vec<(&'static str, u64)>,
}

impl Node {
    /// Goes on with the chain that was kept, or begins one, and keeps that before anything is served.
    pub(crate) fn open(settings: &Settings, kept: Option<Kept>, keep: Keep) -> Result<Self> {
        let now = Timestamp::now();
        let before = kept.clone();
        let (chain, kept) = Chain::open(settings, kept, now)?;
        if before.as_ref() != Some(&kept) {
            keep(&kept).context("cannot keep when the chain began")?;
        }
        let mut faults = FaultSet::new(settings.seed);
        for fault in &settings.fault {
            faults.add(fault.clone(), now)?;
        }
        let state =
            Mutex::new(State { keep: Some(keep), faults, kept, requests: BTreeMap::new(), latest: now });
        Ok(Self { chain, state, changed: watch::Sender::new(()) })
    }

    /// What one request meets, per method that it calls.
    pub(crate) fn effects(&self, methods: &[Option<&'static str>]) -> Vec<Effects> {
        let mut state = self.advanced();
        let mut effects = Vec::with_capacity(methods.len());
        for method in methods {
            *state.requests.entry(method.unwrap_or("other")).or_default() += 1;
            effects.push(state.faults.effects(method.unwrap_or_default()));
        }
        effects
    }

    /// The chain as a request with these effects sees it now.
    pub(crate) fn view(&self, effects: &Effects) -> View<'_> {
        let (held, now) = {
            let state = self.advanced();
            (state.kept.branches.clone(), state.latest)
        };
        View::new(&self.chain, &held, effects, now)
    }

    pub(crate) fn set_fault(&self, fault: Fault) -> Result<u32> {
        let id = {
            let mut state = self.advanced();
            let now = state.latest;
            state.faults.add(fault, now)?
        };
        drop(self.advanced());
        self.changed.send_replace(());
        Ok(id)
    }

    /// Clears one fault or all; says how many there were.
    pub(crate) fn clear_faults(&self, id: Option<u32>) -> usize {
        let cleared = self.advanced().faults.clear(id);
        self.changed.send_replace(());
        cleared
    }

    pub(crate) fn faults(&self) -> Vec<Listed> {
        self.advanced().faults.list()
    }

    pub(crate) fn status(&self) -> Status {
        let (effects, down, requests) = {
            let state = self.advanced();
            let requests = state.requests.iter().map(|(method, count)| (*method, *count)).collect();
            (state.faults.standing(), state.faults.down(), requests)
        };
        let view = self.view(&effects);
        Status {
            source: self.chain.source_name(),
            length: self.chain.length(),
            head: view.head_number(),
            head_id: view.head_id(),
            irreversible: view.irreversible_number(),
            genesis: self.chain.genesis(),
            down,
            requests,
        }
    }

    /// Lets go of what keeps its state. The node is served by its process's socket, and what keeps its
    /// state holds the process: neither would ever end.
    pub(crate) fn retire(&self) {
        self.advanced().keep = None;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.advanced().faults.down()
    }

    /// Waits until the node is down, or no longer so.
    pub(crate) async fn until_down_is(&self, wanted: bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let (down, wait) = {
                let state = self.advanced();
                let next = state.faults.next_down_change(state.latest);
                (state.faults.down(), next.map(|at| at.duration_since(state.latest).unsigned_abs()))
            };
            if down == wanted {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// The state, with the faults that are due begun and ended. A fork for good is kept before any
    /// request sees it; where that fails, it doesn't happen.
    fn advanced(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves no half-made change behind: each is one assignment.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest = state.latest.max(Timestamp::now());
        let State { keep, faults, kept, latest, .. } = &mut *state;
        let forks = faults.advance(*latest, &self.chain, &kept.branches);
        if !forks.is_empty() {
            let mut grown = kept.clone();
            grown.branches.extend(forks);
            let keep = keep.as_ref().context("the node has retired");
            match keep.and_then(|keep| keep(&grown)) {
                Ok(()) => *kept = grown,
                Err(error) => tracing::error!(%error, "no fork: it could not be kept"),
            }
        }
        state
    }
}

async fn sleep(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
