//! What an instance says of itself, if it says anything.

use std::time::Duration;

use procession::Death;
use procession::interfaces::process::{self, GetHealth, GetStatus, Status};
use procession::names::Instance;
use serde::Serialize;
use tokio::time::timeout;

use crate::home::Home;
use crate::past::{self, Letters};
use crate::socket::{self, NoAnswer, Verdict};

/// A socket is served by a thread that does nothing else: who doesn't answer for so long is stopped, or the
/// machine is.
const PATIENCE: Duration = Duration::from_millis(800);

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ready,
    /// It runs, and can't do its work for now.
    Waiting,
    Starting,
    Stopping,
    /// It runs, and its loop doesn't turn, or nothing of it does.
    Hung,
    /// Its loop turns, and something in it is broken.
    Unwell,
    /// Nobody holds its lock.
    Down,
    /// We may not look.
    #[default]
    Unknown,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) state: State,
    /// What is wrong.
    pub(super) reason: Option<String>,
    pub(super) status: Option<Status>,
    /// Events that it has parked in this life.
    pub(super) parked: Option<u64>,
    pub(super) letters: Letters,
    pub(super) last_death: Option<Death>,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Hung => "hung",
            Self::Unwell => "unwell",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    const fn said(state: process::State) -> Self {
        match state {
            process::State::Ready => Self::Ready,
            process::State::Starting => Self::Starting,
            process::State::Stopping => Self::Stopping,
            process::State::Other => Self::Unknown,
        }
    }
}

impl Look {
    fn wrong(state: State, reason: impl Into<String>) -> Self {
        Self { state, reason: Some(reason.into()), ..Self::default() }
    }
}

/// Looks at the lock first: only who holds it lives.
pub(super) async fn at(home: &Home, instance: &Instance) -> Look {
    let lives = || journal::is_locked(&home.folder(instance));
    let down = || Look { state: State::Down, last_death: past::death_of(home, instance), ..Look::default() };
    match lives() {
        Ok(false) => return down(),
        Err(error) => return Look::wrong(State::Unknown, error.to_string()),
        Ok(true) => {}
    }
    match ask(home, instance).await {
        Ok(look) => look,
        // It has died while we asked.
        Err(_) if lives().is_ok_and(|lives| !lives) => down(),
        // Its journal is open or being recovered, and its socket not there yet.
        Err(NoAnswer::Down(_)) => Look { state: State::Starting, ..Look::default() },
        Err(silence @ NoAnswer::Silent(_)) => Look::wrong(State::Hung, silence.reason()),
        Err(silence) => Look::wrong(State::Unknown, silence.reason()),
    }
}

async fn ask(home: &Home, instance: &Instance) -> Result<Look, NoAnswer> {
    let mut client = socket::connect(home, instance, PATIENCE).await?;
    let status = socket::ask(&mut client, &GetStatus {}).await?;
    let said = State::said(status.state);
    if said != State::Ready {
        return Ok(Look { state: said, status: Some(status), ..Look::default() });
    }
    // The process itself gives its loop a second: while that goes on, it says nothing.
    let health = timeout(PATIENCE, socket::ask(&mut client, &GetHealth {})).await;
    let (mut parked, mut letters, mut last_death) = (None, Letters::Unasked, None);
    let (state, reason) = match health {
        Ok(Ok(health)) => {
            let verdict = socket::verdict(&health);
            letters = Letters::said(health.open_letters);
            (parked, last_death) = (Some(health.parked), health.last_death);
            match verdict {
                Verdict::Well => (State::Ready, None),
                Verdict::Waiting(why) => (State::Waiting, Some(why)),
                Verdict::Unwell(why) => (State::Unwell, Some(why)),
                Verdict::Unknown(why) => (State::Unknown, Some(why)),
            }
        }
        Err(_) | Ok(Err(NoAnswer::Silent(_))) => {
            (State::Hung, Some(format!("its application's loop has not moved for {PATIENCE:?}")))
        }
        Ok(Err(silence)) => (State::Unknown, Some(silence.reason())),
    };
    Ok(Look { state, reason, status: Some(status), parked, letters, last_death })
}
