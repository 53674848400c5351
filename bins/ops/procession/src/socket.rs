//! Asking a process on its local socket.

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use procession::calls::{self, Request};
use procession::folders::FolderError;
use procession::interfaces::process::{GetHealth, Health, Wait};
use procession::names::Instance;
use procession::varlink::{Client, ClientError, error_names};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::home::Home;
use crate::report::{Advise as _, failure};

/// A condition under which a process can't do its work, in a few words for a line about it.
pub(crate) fn words(wait: &Wait) -> String {
    format!("{} (since {})", wait.reason, wait.since)
}

/// How a process is by what it says, in one of three ways.
pub(crate) fn verdict(health: &Health) -> Verdict {
    match (health.healthy, health.waiting.as_slice()) {
        (true, _) => Verdict::Well,
        (false, []) => Verdict::Unwell(health.reason.clone().unwrap_or_else(|| "it says so".to_owned())),
        (false, waiting) => Verdict::Waiting(waiting.iter().map(words).collect::<Vec<_>>().join("; ")),
    }
}

/// How a process says that it is; if not well, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// It runs, and can't do its work: no restart would help.
    Waiting(String),
    /// Something is broken in it.
    Unwell(String),
    /// It may be well or not: we are not told.
    Unknown(String),
}

/// Why a process doesn't answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// There is no socket, or nobody listens on it.
    Down(PathBuf),
    /// It has the connection, and says nothing.
    Silent(Duration),
    /// Anything else, for example that we may not connect, or an error that it answered with.
    Failed(ClientError),
    /// Its socket can't exist.
    Path(FolderError),
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build().context("can't wait for events")?;
    runtime.block_on(future)
}

/// Connects to an instance.
pub(crate) async fn connect(
    home: &Home,
    instance: &Instance,
    patience: Duration,
) -> Result<Client, NoAnswer> {
    let path = home.folders.socket(instance).map_err(NoAnswer::Path)?;
    let endpoint = home.folders.endpoint(instance);
    // The client itself waits for a server whose queue is full.
    match timeout(patience, Client::connect_to(&endpoint)).await {
        Err(_) => Err(NoAnswer::Silent(patience)),
        Ok(Ok(client)) => Ok(client.with_timeout(patience)),
        Ok(Err(ClientError::Connect { source, .. })) if is_down(source.kind()) => Err(NoAnswer::Down(path)),
        Ok(Err(error)) => Err(NoAnswer::Failed(error)),
    }
}

/// Asks on a connection.
pub(crate) async fn ask<R: Request>(client: &mut Client, request: &R) -> Result<R::Reply, NoAnswer> {
    calls::ask(client, request).await.map_err(NoAnswer::from)
}

/// How an instance says that it is.
pub(crate) async fn health(home: &Home, instance: &Instance, patience: Duration) -> Result<Health, NoAnswer> {
    let asked = async {
        let mut client = connect(home, instance, patience).await?;
        ask(&mut client, &GetHealth {}).await
    };
    timeout(patience, asked).await.unwrap_or(Err(NoAnswer::Silent(patience)))
}

const fn is_down(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

impl From<ClientError> for NoAnswer {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Timeout(patience) => Self::Silent(patience),
            error => Self::Failed(error),
        }
    }
}

impl NoAnswer {
    /// Whether the process may be well: only we may not ask it.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Failed(ClientError::Connect { source, .. }) => source.kind() == ErrorKind::PermissionDenied,
            Self::Failed(error) => error.name() == Some(error_names::PERMISSION_DENIED),
            _ => false,
        }
    }

    /// In a few words, for a line about the process.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Down(path) if path.exists() => "it isn't running; its socket was left behind".to_owned(),
            Self::Down(path) => format!("it isn't running: there is no {}", path.display()),
            Self::Silent(patience) => {
                format!("it doesn't answer within {patience:.0?}: it hangs or is stopped")
            }
            Self::Failed(error) if self.is_refusal() => format!("you may not ask it: {error}"),
            Self::Failed(error) => error.to_string(),
            Self::Path(error) => error.to_string(),
        }
    }

    /// As the error of a verb.
    pub(crate) fn into_error(self, instance: &Instance) -> anyhow::Error {
        let what = format!("`{instance}` can't be asked");
        match self {
            Self::Down(_) => {
                let advice =
                    "start it; `procession ps` shows what runs, PROCESSION_RUNTIME where that is looked for";
                failure(format!("{what}: {}", self.reason()), advice)
            }
            Self::Silent(_) => failure(
                format!("{what}: {}", self.reason()),
                "more patience by --timeout, or `procession ps` for its state",
            ),
            Self::Failed(error @ ClientError::Connect { .. }) => Err::<(), _>(error)
                .context(what)
                .advise(|| "run this as a user that may use the socket".into())
                .expect_err("it was one"),
            Self::Failed(error) => anyhow::Error::new(error).context(what),
            Self::Path(error) => anyhow::Error::new(error).context(what),
        }
    }
}
