//! `procession dead-letters`: what a process could not deal with, and what is to become of it.
//!
//! The letters are read from the process's journal, also while it is down. What becomes of them is for the process alone
//! to say, in its own journal: so for `retry`, `drop` and `release` it must run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use procession::calls::{self, NoReply, Request};
use procession::interfaces::dead_letters::{
    self, GetParked, LetterError, NotRetried, Parked, ParkedKeys, Released, Retried,
};
use procession::json::time;
use procession::names::Instance;
use procession::varlink::{Client, ClientError};
use procession::{DeadLetter, Item, Level, Reader, Start};
use serde::{Deserialize, Serialize};

use crate::asking::{self, Patience};
use crate::home::Home;
use crate::output::Output;
use crate::report::{failure, for_each};
use crate::socket::{self, block_on};
use crate::table::{Align, Table, or_dash};
use crate::text;

/// Events that processes could not deal with: see them, and decide what becomes of them.
///
/// An event that failed too often, or can't be decoded, is parked in the dead-letter topic of the process that
/// heard it; if the process takes events by key, so are all later ones of its key, until the key is released.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List letters that nobody has decided about, and keys that are parked
    List(List),
    /// Show one letter, whole
    Show(One),
    /// Deliver the events of letters once more; the process must run
    Retry(Retry),
    /// Give letters up; the process must run
    Drop(Several),
    /// Deliver all letters of a parked key once more, in order, and let its events come again; the process must run
    Release(Release),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only these processes or instances.
    #[arg(value_name = "PROCESS")]
    processes: Vec<Instance>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The instance.
    process: Instance,
    /// The letter's offset.
    offset: u64,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Several {
    /// The instance.
    process: Instance,
    /// The letters' offsets.
    #[arg(required = true, value_name = "OFFSET")]
    offsets: Vec<u64>,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
struct Retry {
    /// The instance.
    process: Instance,
    /// The letters' offsets.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "OFFSET")]
    offsets: Vec<u64>,
    /// All of them, oldest first; parked keys are released.
    #[arg(long)]
    all: bool,
    /// Only those of this subscription.
    #[arg(long, value_name = "NAME", requires = "all")]
    subscription: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
struct Release {
    /// The instance.
    process: Instance,
    /// The key, as `list` shows it.
    key: String,
    /// The subscription, if the key is parked in several.
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Give the letters up instead of delivering them.
    #[arg(long)]
    drop: bool,
    #[command(flatten)]
    patience: Patience,
}

/// A letter, and where it lies.
#[derive(Debug, Serialize)]
pub(crate) struct Letter {
    process: String,
    letter: u64,
    parked_at: String,
    #[serde(flatten)]
    content: DeadLetter,
}

#[derive(Deserialize)]
struct Settled {
    letter: u64,
}

/// Runs `procession dead-letters`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    match &args.verb {
        Verb::List(list) => return list.run(&home, out),
        Verb::Show(one) => one.run(&home, out)?,
        Verb::Retry(Retry { all: true, process, subscription, patience, .. }) => {
            retry_all(&home, process, subscription.as_deref(), *patience, out)?;
        }
        Verb::Retry(Retry { process, offsets, patience, .. }) => {
            let several = Several { process: process.clone(), offsets: offsets.clone(), patience: *patience };
            several.call(&home, |offset| dead_letters::Retry { offset }, "is delivered once more", out)?;
        }
        Verb::Drop(several) => {
            several.call(&home, |offset| dead_letters::Drop { offset }, "is dropped", out)?;
        }
        Verb::Release(release) => release.run(&home, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn run(&self, home: &Home, out: &mut Output) -> Result<ExitCode> {
        let mut table = Table::new([
            ("PROCESS", Align::Left),
            ("LETTER", Align::Right),
            ("EVENT", Align::Left),
            ("KEY", Align::Left),
            ("ATTEMPTS", Align::Right),
            ("REASON", Align::Left),
        ]);
        let instances = home.named(&self.processes)?;
        let done = for_each(&instances, |instance| {
            for letter in open_letters(home, instance)? {
                if self.json {
                    out.json(&letter)?;
                    continue;
                }
                let DeadLetter { journal, topic, offset, key, attempts, reason, .. } = &letter.content;
                table.row([
                    instance.into(),
                    letter.letter.into(),
                    format!("{journal}/{topic} {offset}").into(),
                    or_dash(key.as_deref()),
                    (*attempts).into(),
                    reason.as_str().into(),
                ]);
            }
            Ok(())
        })?;
        if self.json {
            return Ok(done);
        }
        if table.len() == 0 {
            writeln!(out, "no dead letters")?;
        } else {
            table.write(out)?;
        }
        for instance in &instances {
            // Only a process that runs can tell; the letters say most of it.
            let asked = block_on(async {
                let mut client = socket::connect(home, instance, Duration::from_secs(1)).await.ok();
                Ok(match &mut client {
                    Some(client) => parked(client).await.ok(),
                    None => None,
                })
            })?;
            for ParkedKeys { subscription, keys } in asked.unwrap_or_default() {
                let keys: Vec<_> = keys.iter().map(|key| text::escape(key)).collect();
                writeln!(out, "parked keys of {instance} ({subscription}): {}", keys.join(", "))?;
            }
        }
        Ok(done)
    }
}

impl One {
    fn run(&self, home: &Home, out: &mut Output) -> Result<()> {
        home.named(std::slice::from_ref(&self.process))?;
        let letters = open_letters(home, &self.process)?;
        let Some(letter) = letters.into_iter().find(|letter| letter.letter == self.offset) else {
            let what = format!("`{}` has no open dead letter {}", self.process, self.offset);
            return Err(failure(what, format!("procession dead-letters list {}", self.process)));
        };
        if self.json {
            return out.json(&letter);
        }
        let DeadLetter { subscription, journal, offset, topic, key, attempts, reason, .. } = &letter.content;
        let lines = [
            ("letter", format!("{} of {}, parked at {}", letter.letter, letter.process, letter.parked_at)),
            ("subscription", subscription.clone()),
            ("event", format!("{journal}/{topic} {offset}")),
            ("key", key.clone().unwrap_or_else(|| "-".to_owned())),
            ("attempts", attempts.to_string()),
            ("reason", reason.clone()),
            ("payload", text::compact_json(letter.content.payload.get())),
        ];
        for (name, value) in lines {
            writeln!(out, "{name:<12}  {}", text::escape(&value))?;
        }
        Ok(())
    }
}

impl Several {
    /// Asks for the same of each letter.
    fn call<R>(&self, home: &Home, what: impl Fn(u64) -> R, done: &str, out: &mut Output) -> Result<()>
    where
        R: Request<Reply = NoReply, Error = LetterError>,
    {
        home.named(std::slice::from_ref(&self.process))?;
        block_on(async {
            let mut client = connect(home, &self.process, self.patience).await?;
            for offset in &self.offsets {
                let called = calls::ask(&mut client, &what(*offset)).await;
                called.map_err(|error| words(&error, &self.process))?;
                writeln!(out, "letter {offset} {done}")?;
            }
            Ok(())
        })
    }
}

/// Has the process deliver all letters once more.
fn retry_all(
    home: &Home,
    process: &Instance,
    subscription: Option<&str>,
    patience: Patience,
    out: &mut Output,
) -> Result<()> {
    home.named(std::slice::from_ref(process))?;
    block_on(async {
        let mut client = connect(home, process, patience).await?;
        let what = dead_letters::RetryAll { subscription: subscription.map(str::to_owned) };
        let called = calls::ask(&mut client, &what).await;
        let Retried { letters, failed } = called.map_err(|error| words(&error, process))?;
        writeln!(out, "{} delivered once more", text::Count(letters, "letter"))?;
        for NotRetried { letter, reason } in &failed {
            writeln!(out, "letter {letter} is not: {}", text::escape(reason))?;
        }
        match failed.len() {
            0 => Ok(()),
            _ => Err(failure(
                format!(
                    "{} of `{process}` could not be delivered",
                    text::Count(failed.len() as u64, "letter")
                ),
                format!("procession dead-letters list {process}"),
            )),
        }
    })
}

impl Release {
    fn run(&self, home: &Home, out: &mut Output) -> Result<()> {
        home.named(std::slice::from_ref(&self.process))?;
        block_on(async {
            let mut client = connect(home, &self.process, self.patience).await?;
            let subscription = match &self.subscription {
                Some(name) => name.clone(),
                None => self.subscription_of_key(&mut client).await?,
            };
            let what = dead_letters::Release { subscription, key: self.key.clone(), drop: Some(self.drop) };
            let called = calls::ask(&mut client, &what).await;
            let Released { letters } = called.map_err(|error| words(&error, &self.process))?;
            let fate = if self.drop { "given up" } else { "delivered once more" };
            let letters = text::Count(letters, "letter");
            writeln!(out, "key {} is released: {letters} {fate}", text::escape(&self.key))?;
            Ok(())
        })
    }

    async fn subscription_of_key(&self, client: &mut Client) -> Result<String> {
        let parked = parked(client).await.map_err(|error| words(&error, &self.process))?;
        let with_key = parked.into_iter().filter(|parked| parked.keys.contains(&self.key));
        let names: Vec<String> = with_key.map(|parked| parked.subscription).collect();
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => {
                let what = format!("no key `{}` of `{}` is parked", text::escape(&self.key), self.process);
                Err(failure(what, format!("procession dead-letters list {}", self.process)))
            }
            _ => {
                let what = format!("key `{}` is parked in several subscriptions", text::escape(&self.key));
                Err(failure(what, format!("name one by --subscription: {}", names.join(", "))))
            }
        }
    }
}

async fn parked(client: &mut Client) -> Result<Vec<ParkedKeys>, ClientError> {
    calls::ask(client, &GetParked {}).await.map(|Parked { parked }| parked)
}

async fn connect(home: &Home, process: &Instance, patience: Patience) -> Result<Client> {
    let connected = patience.connect(home, process).await;
    connected.with_context(|| format!("only `{process}` itself can decide about its letters"))
}

/// What the process answered, and what may help.
fn words(error: &ClientError, process: &Instance) -> anyhow::Error {
    // All methods of the interface refuse with the same errors.
    asking::words::<GetParked>(error, process, "dead-letters", |refusal| {
        Some(match refusal {
            LetterError::NoLetter { offset } => failure(
                format!("`{process}` has no open dead letter {offset}"),
                format!("procession dead-letters list {process}"),
            ),
            LetterError::KeyParked { key, .. } => failure(
                format!("its key `{}` is parked: an earlier event of it must come first", text::escape(&key)),
                format!("procession dead-letters release {process} {}", text::escape(&key)),
            ),
            LetterError::NotParked { subscription, key } => failure(
                format!(
                    "key `{}` of subscription `{}` is not parked",
                    text::escape(&key),
                    text::escape(&subscription)
                ),
                format!("procession dead-letters list {process}"),
            ),
            LetterError::NotReading { subscription } => failure(
                format!("`{process}` does not read subscription `{}` now", text::escape(&subscription)),
                "once it does, try again",
            ),
            _ => return None,
        })
    })
}

/// The letters that nobody has decided about, oldest first.
pub(crate) fn open_letters(home: &Home, instance: &Instance) -> Result<Vec<Letter>> {
    let reader = Reader::open(&home.folder(instance), Start::Beginning, Level::Committed);
    let Some(mut reader) = reader.with_context(|| format!("the journal of `{instance}` can't be read"))?
    else {
        return Ok(Vec::new());
    };
    let mut letters = BTreeMap::new();
    while let Some(item) = reader.next()? {
        let Item::Record(record) = item else { continue };
        match record.topic {
            "_dead-letter" => {
                if let Ok(content) = serde_json::from_slice(record.payload) {
                    let (process, letter) = (instance.to_string(), record.offset.0);
                    letters.insert(letter, Letter { process, letter, parked_at: time(record.time), content });
                }
            }
            "_dead-letter-settled" => {
                if let Ok(Settled { letter }) = serde_json::from_slice(record.payload) {
                    letters.remove(&letter);
                }
            }
            _ => {}
        }
    }
    Ok(letters.into_values().collect())
}
