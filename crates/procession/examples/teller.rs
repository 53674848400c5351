//! A model: the balance of each account, whatever order deposits and withdrawals come in. The tests of models drive
//! it as a real process.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use procession::ordering::{Compensate, Effect, EventTime, Heard, Input, Model, Output, Outputs};
use procession::{Process, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

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
    /// How long the names of accounts in fees are made
    fee_bytes: usize,
    /// How long the names of accounts in overdrafts of a cent are made
    cent_bytes: usize,
    /// An overdraft of so many cents cannot be encoded
    unsayable: i64,
}

const DAY: Duration = Duration::from_secs(86_400);

/// What the model's code does: the same in every run of a process that works as it should. See [`Settings`].
#[derive(Debug, Clone, Copy)]
struct Rules {
    most: i64,
    fee_bytes: usize,
    cent_bytes: usize,
    unsayable: i64,
}

static RULES: OnceLock<Rules> = OnceLock::new();

impl Rules {
    fn get() -> Self {
        *RULES.get().expect("it is set before the model runs")
    }
}

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
            fee_bytes: 0,
            cent_bytes: 0,
            unsayable: i64::MIN,
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
        #[serde(serialize_with = "sayable")]
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

/// A name, made so long.
fn longer(name: &str, bytes: usize) -> String {
    [name, &"x".repeat(bytes.saturating_sub(name.len()))].concat()
}

impl Compensate for Finding {
    fn compensation(&self) -> Option<Self> {
        match self {
            Self::Overdrawn { account, .. } => {
                assert!(account != "no way back", "there is no way back");
                let bytes = if account == "long way back" { 1 << 18 } else { 0 };
                Some(Self::Withdrawn { account: longer(account, bytes) })
            }
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
    #[serde(serialize_with = "writable")]
    balance: i64,
}

/// A state that cannot be written.
const UNWRITABLE: i64 = -666_666;

fn writable<S: Serializer>(balance: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(*balance != UNWRITABLE, "nobody writes this down");
    serializer.serialize_i64(*balance)
}

fn sayable<S: Serializer>(balance: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(*balance != UNWRITABLE - 1, "nobody says this");
    if *balance == Rules::get().unsayable {
        return Err(serde::ser::Error::custom("nobody can say this"));
    }
    serializer.serialize_i64(*balance)
}

impl Model for Account {
    type Input = Moved;
    type Output = Finding;

    fn apply(&mut self, _at: EventTime, moved: &Moved, out: &mut Outputs<Finding>) {
        assert!(moved.cents <= Rules::get().most, "more than there is");
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
            let Rules { fee_bytes, cent_bytes, .. } = Rules::get();
            let in_words = longer(&account, if self.balance == -1 { cent_bytes } else { 0 });
            out.say(Finding::Overdrawn { account: in_words, balance: self.balance });
            out.say(Finding::Fee { account: longer(&account, fee_bytes) });
        }
    }
}

fn main() -> ExitCode {
    procession::run("teller", |process: Process<Settings>| async move {
        let Settings { hears, lateness, snapshot_after, idle_after, dead_after, wait, .. } =
            process.settings();
        let Settings { most, fee_bytes, cent_bytes, unsayable, .. } = *process.settings();
        RULES.get_or_init(|| Rules { most, fee_bytes, cent_bytes, unsayable });
        let model = process.model::<Account>("teller").hear(hears.clone()).lateness(*lateness);
        let model = model.idle_after(*idle_after).dead_after(*dead_after).wait(*wait).ahead_max(DAY);
        model.final_every(Duration::from_millis(1)).snapshot_after(*snapshot_after).run().await
    })
}
