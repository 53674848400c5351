//! The faults that are on, and what they mean for one request.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::spec::{Fault, Kind, RpcCode};
use crate::chain::{Branch, Chain};
use crate::draw::Draw;

/// As many faults can be on at once.
const FAULTS_MAX: usize = 256;

/// The faults that are on or will be.
#[derive(Debug)]
pub(crate) struct FaultSet {
    faults: Vec<Active>,
    last_id: u32,
    draw: Draw,
}

#[derive(Debug)]
struct Active {
    id: u32,
    fault: Fault,
    begins: Timestamp,
    ends: Option<Timestamp>,
    left: Option<u32>,
    fired: u64,
    /// What was true when it began; `None` until then.
    begun: Option<Begun>,
}

#[derive(Debug, Clone, Copy)]
enum Begun {
    Plain,
    Stall(Stall),
    Fork(Branch),
}

/// Where the head stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The chain doesn't go on after this moment …
    pub(crate) since: Timestamp,
    /// … and not beyond this block number.
    pub(crate) block: Option<u32>,
}

/// A fault as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: u32,
    pub(crate) fault: String,
    pub(crate) on: bool,
    pub(crate) fired: u64,
}

/// How an answer goes wrong on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Drop,
    Hang,
    Http(u16),
    Text,
    Truncated,
    Cut,
}

/// What the faults mean for one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) delay: Duration,
    pub(crate) transport: Option<Transport>,
    /// The error, and the HTTP status that comes with it.
    pub(crate) rpc: Option<(RpcCode, Option<u16>)>,
    pub(crate) stall: Option<Stall>,
    pub(crate) behind: u32,
    pub(crate) lag: u32,
    /// Forks that will be undone.
    pub(crate) branches: Vec<Branch>,
    pub(crate) wrong_chain: bool,
    pub(crate) truncated_block: bool,
    pub(crate) no_range: bool,
}

impl FaultSet {
    pub(crate) fn new(seed: u64) -> Self {
        Self { faults: Vec::new(), last_id: 0, draw: Draw::keyed(&[seed, 0xfa_17]) }
    }

    pub(crate) fn add(&mut self, fault: Fault, now: Timestamp) -> Result<u32> {
        ensure!(self.faults.len() < FAULTS_MAX, "{FAULTS_MAX} faults are set already; clear some");
        let begins = now.checked_add(fault.after)?;
        let ends = fault.duration.map(|duration| begins.checked_add(duration)).transpose()?;
        self.last_id += 1;
        let left = fault.times;
        self.faults.push(Active { id: self.last_id, fault, begins, ends, left, fired: 0, begun: None });
        Ok(self.last_id)
    }

    /// Takes one fault away, or all of them; says how many went.
    pub(crate) fn clear(&mut self, id: Option<u32>) -> usize {
        let before = self.faults.len();
        self.faults.retain(|active| id.is_some_and(|id| id != active.id));
        before - self.faults.len()
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        let listed = |active: &Active| Listed {
            id: active.id,
            fault: active.fault.to_string(),
            on: active.begun.is_some(),
            fired: active.fired,
        };
        self.faults.iter().map(listed).collect()
    }

    /// Lets faults begin and end that are due. Returns the forks for good that have begun: they are
    /// part of the chain from here on, and no longer a fault.
    pub(crate) fn advance(&mut self, now: Timestamp, chain: &Chain, held: &[Branch]) -> Vec<Branch> {
        self.faults.retain(|active| {
            let goes_on = active.ends.is_none_or(|ends| now < ends) && active.left != Some(0);
            if !goes_on {
                tracing::info!(id = active.id, fault = %active.fault, fired = active.fired, "fault ends");
            }
            goes_on
        });
        let mut for_good = Vec::new();
        let mut over = Vec::new();
        for active in &mut self.faults {
            if active.begun.is_some() || now < active.begins {
                continue;
            }
            active.begun = Some(match active.fault.kind {
                Kind::Stall(block) => Begun::Stall(Stall { since: now, block }),
                Kind::Fork(blocks) => match fork(chain, held, blocks, active.id, now) {
                    Some(branch) if active.ends.is_some() => Begun::Fork(branch),
                    branch => {
                        for_good.extend(branch);
                        over.push(active.id);
                        Begun::Plain
                    }
                },
                _ => Begun::Plain,
            });
            tracing::info!(id = active.id, fault = %active.fault, "fault begins");
        }
        self.faults.retain(|active| !over.contains(&active.id));
        for_good
    }

    /// The states that every request meets, whatever its method and luck.
    pub(crate) fn standing(&self) -> Effects {
        let mut effects = Effects::default();
        let states = |active: &&Active| matches!(active.begun, Some(Begun::Stall(_) | Begun::Fork(_)));
        self.faults.iter().filter(states).for_each(|active| effects.include(active));
        effects
    }

    pub(crate) fn down(&self) -> bool {
        self.faults.iter().any(|active| active.fault.kind == Kind::Down && active.begun.is_some())
    }

    /// When `down` begins or ends next.
    pub(crate) fn next_down_change(&self, now: Timestamp) -> Option<Timestamp> {
        (self.faults.iter())
            .filter(|active| active.fault.kind == Kind::Down)
            .flat_map(|active| [Some(active.begins), active.ends])
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    /// What a request of this method meets. Chances are drawn and counts go down here, once a request.
    pub(crate) fn effects(&mut self, method: &str) -> Effects {
        let mut effects = Effects::default();
        for active in &mut self.faults {
            let on = active.begun.is_some() && active.left != Some(0) && active.fault.concerns(method);
            if !on || (active.fault.probability < 1.0 && self.draw.unit() >= active.fault.probability) {
                continue;
            }
            active.fired += 1;
            active.left = active.left.map(|left| left - 1);
            effects.include(active);
        }
        effects
    }
}

impl Effects {
    fn include(&mut self, active: &Active) {
        let mut transport = |kind| self.transport = self.transport.or(Some(kind));
        match active.fault.kind {
            Kind::Down | Kind::Drop => transport(Transport::Drop),
            Kind::Hang => transport(Transport::Hang),
            Kind::Http(status) => transport(Transport::Http(status)),
            Kind::Text => transport(Transport::Text),
            Kind::Truncated => transport(Transport::Truncated),
            Kind::Cut => transport(Transport::Cut),
            Kind::Slow(delay) => self.delay = self.delay.max(delay),
            Kind::Rpc(code) => self.rpc = self.rpc.or(Some((code, active.fault.status))),
            Kind::Behind(blocks) => self.behind = self.behind.max(blocks),
            Kind::Lag(blocks) => self.lag = self.lag.max(blocks),
            Kind::WrongChain => self.wrong_chain = true,
            Kind::TruncatedBlock => self.truncated_block = true,
            Kind::NoRange => self.no_range = true,
            Kind::Stall(_) | Kind::Fork(_) => {}
        }
        match active.begun {
            Some(Begun::Stall(stall)) => self.stall = self.stall.or(Some(stall)),
            Some(Begun::Fork(branch)) => self.branches.push(branch),
            Some(Begun::Plain) | None => {}
        }
    }
}

/// The fork that replaces the last `blocks` blocks, as far as they are reversible; `None`, with a
/// warning, where none is.
fn fork(chain: &Chain, held: &[Branch], blocks: u32, id: u32, now: Timestamp) -> Option<Branch> {
    let heights = chain.heights(now);
    let blocks = blocks.min(heights.head - heights.irreversible);
    if blocks == 0 {
        tracing::warn!("no fork: every block is irreversible (see block-interval and irreversible-lag)");
        return None;
    }
    let (from, to) = (heights.head - blocks + 1, heights.head);
    tracing::info!(from = chain.number(from), to = chain.number(to), "fork");
    let salt =
        Draw::keyed(&[held.len() as u64, id.into(), heights.head.into(), now.as_second().unsigned_abs()])
            .next();
    Some(Branch { from, to, salt })
}
