//! Whether we move on. What a node says of its head is no work done: only a block that we have said is.

use std::pin::pin;
use std::time::Duration;

use procession::{Process, Waiting};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::follow::{Advance, Follow};
use crate::settings::Settings;

/// Says that the process can't do its work while no step comes for longer than `stall_timeout`.
pub(crate) struct Standstill {
    process: Process<Settings>,
    timeout: Duration,
    /// Why there was no step when one was last tried.
    why: watch::Receiver<String>,
}

impl Standstill {
    pub(crate) fn new(process: &Process<Settings>, chain: &Follow) -> Self {
        let timeout = process.settings().stall_timeout;
        Standstill { process: process.clone(), timeout, why: chain.why() }
    }

    /// The next step along the chain, however long it takes.
    pub(crate) async fn next(&mut self, chain: &mut Follow) -> Advance {
        let mut step = pin!(chain.next());
        let due = Instant::now() + self.timeout;
        tokio::select! {
            biased;
            advance = &mut step => return advance,
            () = sleep_until(due) => {}
        }
        let reason = self.reason();
        let waiting = self.process.waiting(reason);
        loop {
            tokio::select! {
                biased;
                advance = &mut step => return advance,
                Ok(()) = self.why.changed() => self.again(&waiting),
            }
        }
    }

    fn again(&mut self, waiting: &Waiting) {
        waiting.say(self.reason());
    }

    fn reason(&mut self) -> String {
        let why = self.why.borrow_and_update();
        format!("no block for longer than {:?}: {}", self.timeout, *why)
    }
}
