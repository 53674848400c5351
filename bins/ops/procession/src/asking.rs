//! A call of a running process that somebody has asked for: getting at it, and the words where nothing comes of it.

use std::time::Duration;

use anyhow::Result;
use procession::calls::{self, Request};
use procession::names::Instance;
use procession::varlink::{Client, ClientError};

use crate::home::Home;
use crate::report::failure;
use crate::socket;

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Patience {
    /// How long to wait for an answer.
    #[arg(long, default_value = "5s", value_parser = crate::parse_duration)]
    timeout: Duration,
}

impl Patience {
    /// Connects to an instance.
    pub(crate) async fn connect(self, home: &Home, process: &Instance) -> Result<Client> {
        let connected = socket::connect(home, process, self.timeout).await;
        connected.map_err(|silence| silence.into_error(process))
    }
}

/// What a process answered instead of doing it, and what may help. `known` has the words for the errors of its interface; for
/// others there is what `list` shows.
pub(crate) fn words<R: Request>(
    error: &ClientError,
    process: &Instance,
    list: &str,
    known: impl FnOnce(R::Error) -> Option<anyhow::Error>,
) -> anyhow::Error {
    if error.name().is_none() {
        return failure(error.to_string(), format!("procession ps {process}"));
    }
    calls::refusal::<R>(error)
        .and_then(known)
        .unwrap_or_else(|| failure(error.to_string(), format!("procession {list} list {process}")))
}
