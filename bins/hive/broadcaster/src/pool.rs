//! The nodes, of which one is followed at a time.

use std::sync::Arc;
use std::time::Duration;

use contracts::hive::AppliedOperation;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::block::Block;
use crate::history::{Look, given, look_closer};
use crate::node::Node;
use crate::rpc::{Http, HttpError, Rpc};
use crate::settings::{Mode, Settings};
use crate::source::Source;
use crate::trouble::{Severity, Trouble};

/// A head whose block is older than this is stuck or far behind, unless the whole chain is.
const OLD_SECONDS: i64 = 60;

/// A node that moves on, but this many blocks behind another, is given up as well.
const BEHIND_BLOCKS: u32 = 20;

/// The nodes in order of preference, and the one that is followed. It is kept for as long as it does well:
/// changing back and forth would gain nothing, and every node has its own idea of the newest blocks.
pub(crate) struct Pool {
    nodes: Vec<Node>,
    current: usize,
    mode: Mode,
    stall_timeout: Duration,
    backoff_max: Duration,
    next_survey: Instant,
    /// When we last moved on ourselves.
    progress: Instant,
}

impl Pool {
    pub(crate) fn new(settings: &Settings) -> Result<Self, HttpError> {
        let mut http = Http::new(settings.request_timeout);
        let mut nodes = Vec::new();
        for url in settings.nodes.urls() {
            let rpc = Rpc::new(url.clone(), http.client(url)?);
            nodes.push(Node::new(Source::new(url, rpc, settings.request_timeout)));
        }
        Ok(Pool {
            nodes,
            current: 0,
            mode: settings.mode,
            stall_timeout: settings.stall_timeout,
            backoff_max: settings.backoff_max,
            next_survey: Instant::now(),
            progress: Instant::now(),
        })
    }

    /// Follows the next node that isn't left alone, if the current one is. Waits if all are.
    pub(crate) async fn ready(&mut self) {
        let count = self.nodes.len();
        let in_turn = || (0..count).map(|step| (self.current + step) % count);
        let soonest = || in_turn().min_by_key(|&index| self.nodes[index].ready_at());
        let chosen = match in_turn().find(|&index| self.nodes[index].is_ready()) {
            _ if self.nodes[self.current].is_worth_waiting_for() => self.current,
            Some(index) => index,
            None => soonest().expect("settings give at least one node"),
        };
        sleep_until(self.nodes[chosen].ready_at()).await;
        self.follow(chosen);
    }

    fn follow(&mut self, index: usize) {
        if index != self.current {
            let [from, to] = [self.current, index].map(|index| self.nodes[index].source.name());
            tracing::info!(from, to, "following another node");
            self.current = index;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The index of the node that is followed.
    pub(crate) fn index(&self) -> usize {
        self.current
    }

    /// The name of the node that is followed.
    pub(crate) fn name(&self) -> &str {
        self.nodes[self.current].source.name()
    }

    /// The node that is followed.
    pub(crate) fn current(&mut self) -> &mut Node {
        &mut self.nodes[self.current]
    }

    /// A block has been said: the nodes are good for something.
    pub(crate) fn progressed(&mut self) {
        self.progress = Instant::now();
    }

    /// What is wrong with the nodes, as far as anything is.
    pub(crate) fn complaint(&self) -> String {
        let complaints: Vec<_> = self.nodes.iter().filter_map(Node::complaint).collect();
        let complaints = complaints.join("; ");
        if self.nodes.iter().all(Node::is_silent) {
            format!("no node answers: {complaints}")
        } else {
            complaints
        }
    }

    /// The current node has failed us.
    pub(crate) fn failed(&mut self, trouble: &Trouble) {
        let node = &mut self.nodes[self.current];
        node.failed(trouble, self.backoff_max);
        let (name, wait) = (node.source.name(), node.ready_at().saturating_duration_since(Instant::now()));
        match trouble.severity() {
            Severity::Moment => tracing::debug!(node = name, ?wait, "{trouble}"),
            Severity::Growing | Severity::Longest => tracing::warn!(node = name, ?wait, "{trouble}"),
        }
    }

    /// Compares the current node with the others, if there is reason to, and follows the furthest instead if
    /// this one is behind: a silent source looks just like a quiet one, and only another node can tell. That
    /// its head moves is no reason to trust it while we stand still.
    pub(crate) async fn check_standstill(&mut self) {
        let node = &self.nodes[self.current];
        let Some(head) = node.head() else { return };
        let still = node.still().max(self.progress.elapsed()) >= self.stall_timeout;
        let is_old = |time: Timestamp| Timestamp::now().as_second() - time.as_second() > OLD_SECONDS;
        if !still && !head.time.is_some_and(is_old) {
            return;
        }
        if Instant::now() < self.next_survey {
            return;
        }
        self.next_survey = Instant::now() + self.stall_timeout;
        let target = head.target(self.mode);
        let tolerance = if still { 0 } else { BEHIND_BLOCKS };
        let best = self.survey().await.filter(|&(best, _)| best > target.saturating_add(tolerance));
        if let Some((best, index)) = best {
            self.failed(&Trouble::Behind { head: target, best });
            self.follow(index);
        }
    }

    /// Asks all other nodes at once for a block's virtual operations: those of the first that gives any, or what each
    /// of them, by index, shows. They are looked at closer if `irreversible` is given, the last block that is so.
    pub(crate) async fn virtual_elsewhere(
        &mut self,
        block: &Block,
        irreversible: Option<u32>,
    ) -> (Vec<AppliedOperation>, Vec<(usize, Look)>) {
        let (block, mode) = (Arc::new(block.clone()), self.mode);
        let mut looks = Vec::new();
        let mut asked = self.ask_others(|mut source| {
            let block = Arc::clone(&block);
            async move { (look(&mut source, &block, irreversible, mode).await, source) }
        });
        while let Some(answer) = asked.join_next().await {
            let Ok((index, (look, source))) = answer else { continue };
            let node = &mut self.nodes[index];
            node.source = source;
            match look {
                Ok(Look::Given(operations)) => return (operations, Vec::new()),
                Ok(look) => looks.push((index, look)),
                Err(trouble) => node.failed(&trouble, self.backoff_max),
            }
        }
        (Vec::new(), looks)
    }

    /// Asks all other nodes that aren't left alone, at once.
    fn ask_others<T: Send + 'static, F>(&self, ask: impl Fn(Source) -> F) -> JoinSet<(usize, T)>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if index != self.current && node.is_ready() {
                let asking = ask(node.source.clone());
                asked.spawn(async move { (index, asking.await) });
            }
        }
        asked
    }

    /// Asks all other nodes at once how far they are; the furthest and its index, if any answers.
    async fn survey(&mut self) -> Option<(u32, usize)> {
        let mut asked = self.ask_others(|mut source| async move { (source.head().await, source) });
        let mut best = None;
        while let Some(answer) = asked.join_next().await {
            let Ok((index, (head, source))) = answer else { continue };
            let node = &mut self.nodes[index];
            node.source = source;
            match head {
                Ok(head) => {
                    best = best.max(Some((head.target(self.mode), index)));
                    node.said(head);
                }
                Err(failure) => node.failed(&Trouble::Failed(failure), self.backoff_max),
            }
        }
        best
    }
}

/// What a node gives or shows of a block.
async fn look(
    source: &mut Source,
    block: &Block,
    irreversible: Option<u32>,
    mode: Mode,
) -> Result<Look, Trouble> {
    match given(source, block, mode).await? {
        none if none.is_empty() => look_closer(source, block, irreversible, mode).await,
        operations => Ok(Look::Given(operations)),
    }
}
