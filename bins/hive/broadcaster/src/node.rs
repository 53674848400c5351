//! One node and how it has done lately.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use crate::source::{Head, Source};
use crate::trouble::{Severity, Trouble};

/// The first growing back-off is at most this long.
const GROWING_FIRST: Duration = Duration::from_millis(250);

/// The first and the longest back-off for what will most likely be right in a moment.
const MOMENT_FIRST: Duration = Duration::from_millis(200);
const MOMENT_MAX: Duration = Duration::from_secs(2);

/// As many times in a row a node is waited for, if it will most likely be right in a moment.
const PATIENCE: u32 = 3;

/// A node of the pool.
pub(crate) struct Node {
    pub(crate) source: Source,
    head: Option<Head>,
    /// When the head was last seen to be another one, and when it was last asked for.
    moved: Instant,
    asked: Option<Instant>,
    /// Failures in a row, by severity: those of a moment don't lengthen the others' back-off.
    moments: u32,
    failures: u32,
    /// Left alone until then, and why.
    until: Instant,
    trouble: Option<String>,
    silent: bool,
}

impl Node {
    pub(crate) fn new(source: Source) -> Self {
        let now = Instant::now();
        Node {
            source,
            head: None,
            moved: now,
            asked: None,
            moments: 0,
            failures: 0,
            until: now,
            trouble: None,
            silent: false,
        }
    }

    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Notes what the node said about its head.
    pub(crate) fn said(&mut self, head: Head) {
        let now = Instant::now();
        if self.head.as_ref().is_none_or(|before| (before.number, &before.id) != (head.number, &head.id)) {
            self.moved = now;
        }
        self.asked = Some(now);
        self.head = Some(head);
    }

    /// How long the head has stood still.
    pub(crate) fn still(&self) -> Duration {
        self.moved.elapsed()
    }

    /// Whether no answer came when it was last asked.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// What was wrong with it last, if it has not done well since: with its name.
    pub(crate) fn complaint(&self) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        Some(format!("{}: {trouble}", self.source.name()))
    }

    /// When the head may be asked for again.
    pub(crate) fn due(&self, interval: Duration) -> Instant {
        self.asked.map_or_else(Instant::now, |asked| asked + interval)
    }

    /// When it is no longer left alone; in the past if it isn't.
    pub(crate) fn ready_at(&self) -> Instant {
        self.until
    }

    /// Left alone, but only for a moment and not for the third time in a row: better waited for than changed.
    pub(crate) fn is_worth_waiting_for(&self) -> bool {
        self.failures == 0 && self.moments < PATIENCE
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.until <= Instant::now()
    }

    pub(crate) fn succeeded(&mut self) {
        (self.moments, self.failures, self.trouble) = (0, 0, None);
        self.silent = false;
    }

    /// Leaves the node alone for a while: exponential back-off with full jitter, so that many clients of one
    /// node don't come back all at once.
    pub(crate) fn failed(&mut self, trouble: &Trouble, backoff_max: Duration) {
        let (first, longest, before) = match trouble.severity() {
            Severity::Moment => (MOMENT_FIRST, MOMENT_MAX.min(backoff_max), &mut self.moments),
            Severity::Growing => (GROWING_FIRST, backoff_max, &mut self.failures),
            Severity::Longest => (backoff_max, backoff_max, &mut self.failures),
        };
        let ceiling = first.saturating_mul(1 << (*before).min(20)).min(longest);
        *before = before.saturating_add(1);
        let jittered = match trouble.severity() {
            // The node is of no use for now: not at once again by chance.
            Severity::Longest => ceiling.mul_f64(rand::rng().random_range(0.5..=1.0)),
            _ => ceiling.mul_f64(rand::rng().random_range(0.0..=1.0)),
        };
        self.until = Instant::now() + jittered.max(trouble.retry_after().unwrap_or_default());
        self.trouble = Some(trouble.to_string());
        self.silent = trouble.is_silence();
        // Whatever it said about its head before isn't worth much now; when it is asked again is up to `until`.
        self.head = None;
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::rpc::{Http, Rpc};

    const MAX: Duration = Duration::from_secs(15);

    fn node() -> Node {
        let url = "http://127.0.0.1:9".parse().unwrap();
        let client = Http::new(MAX).client(&url).unwrap();
        Node::new(Source::new(&url, Rpc::new(url.clone(), client), MAX))
    }

    fn wait(node: &Node) -> Duration {
        node.ready_at().saturating_duration_since(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn back_off_grows_with_failures_up_to_its_bound_and_ends_with_success() {
        let mut node = node();
        for failures in 0..100_u32 {
            node.failed(&Trouble::Failed(Failure::Timeout), MAX);
            let ceiling = GROWING_FIRST.saturating_mul(1 << failures.min(20)).min(MAX);
            assert!(wait(&node) <= ceiling, "{failures}");
        }
        node.succeeded();
        node.failed(&Trouble::Failed(Failure::Timeout), MAX);
        assert!(wait(&node) <= GROWING_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_right_in_a_moment_never_waits_long_and_a_wrong_chain_does() {
        let mut node = node();
        for _ in 0..100 {
            node.failed(&Trouble::Absent { number: 5 }, MAX);
            assert!(wait(&node) <= MOMENT_MAX);
        }
        node.failed(&Trouble::WrongChain { number: 5 }, MAX);
        assert!(wait(&node) >= MAX / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_asks_for_time_gets_it() {
        let mut node = node();
        let retry_after = Some(Duration::from_secs(40));
        let failure = Failure::Http { status: 429, retry_after, excerpt: String::new() };
        node.failed(&Trouble::Failed(failure), MAX);
        assert_eq!(wait(&node), Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_only_repeats_itself_stands_still() {
        let mut node = node();
        let head = |number| Head { number, id: String::new(), irreversible: 0, time: None };
        node.said(head(1));
        tokio::time::advance(Duration::from_secs(7)).await;
        node.said(head(1));
        assert_eq!(node.still(), Duration::from_secs(7));
        node.said(head(2));
        assert_eq!(node.still(), Duration::ZERO);
    }
}
