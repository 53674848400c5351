//! A model: the balance of each account, whatever order deposits and withdrawals come in. The tests of models drive
//! it as a real process.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use procession::ordering::{Compensate, Effect, EventTime, Heard, Input, Model, Output, Outputs};
use procession::{Process, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// What it hears
    hears: Vec<String>,
    /// How late an input may be
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    lateness: Duration,
    /// After how many inputs it writes a snapshot
    snapshot_after: u64,
    /// After how long a silent source is not waited for
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    idle_after: Duration,
    /// After how long a source without a process is not waited for
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    dead_after: Duration,
    /// How long an input is held for earlier ones
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    wait: Duration,
    /// More than this at once makes it panic
    most: i64,
}

/// See [`Settings`]: the same in every run of a process that works as it should.
static MOST: AtomicI64 = AtomicI64::new(0);

impl Default for Settings {
    fn default() -> Self {
        Self {
            hears: vec!["bank/moved".into()],
            lateness: Duration::from_secs(10),
            snapshot_after: 1000,
            idle_after: Duration::from_secs(60),
            dead_after: Duration::from_secs(60),
            wait: Duration::ZERO,
            most: 1_000_000,
        }
    }
}

/// Money was moved.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    account: String,
    at: EventTime,
    cents: i64,
}

impl Input for Moved {
    fn take(heard: &Heard<'_>) -> Result<Self, String> {
        heard.decode()
    }

    fn key(&self) -> Cow<'_, [u8]> {
        self.account.as_bytes().into()
    }

    fn at(&self) -> Option<EventTime> {
        Some(self.at)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Finding {
    Overdrawn {
        account: String,
        balance: i64,
    },
    Withdrawn {
        account: String,
    },
    /// The bank charges for it: said once it is certain.
    Fee {
        account: String,
    },
}

impl Output for Finding {
    const TOPICS: &'static [&'static str] = &["overdrawn", "overdrawn-withdrawn", "fee"];

    fn topic(&self) -> &'static str {
        match self {
            Self::Overdrawn { .. } => "overdrawn",
            Self::Withdrawn { .. } => "overdrawn-withdrawn",
            Self::Fee { .. } => "fee",
        }
    }

    fn read(said: &Heard<'_>) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Plain {
            account: String,
            #[serde(default)]
            balance: i64,
        }
        let Plain { account, balance } = said.decode()?;
        Ok(match said.topic {
            "overdrawn" => Self::Overdrawn { account, balance },
            "fee" => Self::Fee { account },
            _ => Self::Withdrawn { account },
        })
    }
}

impl Compensate for Finding {
    fn compensation(&self) -> Option<Self> {
        match self {
            Self::Overdrawn { account, .. } => Some(Self::Withdrawn { account: account.clone() }),
            _ => None,
        }
    }

    fn effect(&self) -> Effect {
        match self {
            Self::Fee { .. } => Effect::Irrevocable,
            _ => Effect::Compensable,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

impl Model for Account {
    type Input = Moved;
    type Output = Finding;

    fn apply(&mut self, _at: EventTime, moved: &Moved, out: &mut Outputs<Finding>) {
        assert!(moved.cents <= MOST.load(Ordering::Relaxed), "more than there is");
        if moved.cents == i64::MIN {
            // More than a small journal takes.
            out.say(Finding::Fee { account: "x".repeat(1 << 18) });
            out.say(Finding::Overdrawn { account: "x".repeat(1 << 18), balance: 0 });
            return;
        }
        if moved.cents == i64::MIN + 1 {
            out.say(Finding::Fee { account: "x".repeat(1 << 18) });
            return;
        }
        self.balance += moved.cents;
        if self.balance < 0 {
            let account = moved.account.clone();
            out.say(Finding::Overdrawn { account: account.clone(), balance: self.balance });
            out.say(Finding::Fee { account });
        }
    }
}

fn main() -> ExitCode {
    procession::run("teller", |process: Process<Settings>| async move {
        let Settings { hears, lateness, snapshot_after, idle_after, dead_after, wait, most } =
            process.settings();
        MOST.store(*most, Ordering::Relaxed);
        let model = process.model::<Account>("teller").hear(hears.clone()).lateness(*lateness);
        let model = model.idle_after(*idle_after).dead_after(*dead_after).wait(*wait);
        model.final_every(Duration::from_millis(1)).snapshot_after(*snapshot_after).run().await
    })
}
