//! Sleeping until a process has said more: its socket wakes us. While it is down we try again and again, with
//! growing pauses, and look at its journal in between, for it may have died right after it spoke.

use std::time::Duration;

use procession::Offset;
use procession::calls;
use procession::interfaces::journal::WaitPast;
use procession::varlink::{Client, ClientError, Endpoint};

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The line to one process.
pub(super) struct Latch {
    process: Endpoint,
    client: Option<Client>,
    failures: u32,
    waiting: bool,
}

/// How a wait ended: with the connection, if it can be used again.
pub(super) struct Woken(Option<Client>);

impl Woken {
    /// Whether it was the publisher who ended it.
    pub(super) const fn has_moved(&self) -> bool {
        self.0.is_some()
    }
}

impl Latch {
    /// Where nobody can be asked, it only pauses.
    pub(super) const fn new(process: Endpoint) -> Self {
        Self { process, client: None, failures: 0, waiting: false }
    }

    /// What ends when it is worth looking at the journal again; `None` while that is going on.
    pub(super) fn wait(&mut self, after: Offset) -> Option<impl Future<Output = Woken> + Send + 'static> {
        if self.waiting {
            return None;
        }
        self.waiting = true;
        let (client, process) = (self.client.take(), self.process.clone());
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        Some(async move {
            match ask(client, &process, after).await {
                Ok(client) => Woken(Some(client)),
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    Woken(None)
                }
            }
        })
    }

    /// Takes the connection back.
    pub(super) fn woken(&mut self, Woken(client): Woken) {
        self.waiting = false;
        self.failures = if client.is_some() { 0 } else { self.failures + 1 };
        self.client = client;
    }
}

async fn ask(client: Option<Client>, process: &Endpoint, after: Offset) -> Result<Client, ClientError> {
    let mut client = match client {
        Some(client) => client,
        None => Client::connect_to(process).await?,
    };
    calls::ask(&mut client, &WaitPast { after: after.0, epoch: None, durable: None }).await?;
    Ok(client)
}
