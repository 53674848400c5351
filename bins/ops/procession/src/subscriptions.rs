//! `procession subscriptions`: who has a place in whose journal, and what that holds back.
//!
//! A process keeps its places itself. A living one is asked to forget one; of a dead one this command is the owner for a
//! moment, under its lock.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use journal::{Cursors, Offset, Options, Retention};
use procession::calls;
use procession::interfaces::subscriptions::{self, ForgetError, Forgotten};
use procession::names::Instance;
use procession::varlink::ClientError;
use serde::Serialize;

use crate::asking::{Patience, words};
use crate::home::Home;
use crate::lag::{self, Lag};
use crate::output::Output;
use crate::past;
use crate::report::{failure, for_each};
use crate::socket::block_on;
use crate::table::{Align, Table, or_dash};
use crate::text;

/// Places of processes in the journals of others: see what they hold back, and forget those that are needed no more.
///
/// A journal keeps what a subscription has not read for as long as its process reads it, and for a lease afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List places: where each is, how far behind, when it was seen, and what its journal keeps from there on
    List(List),
    /// Forget a subscription's place in one journal, or in all: it holds nothing back any more, and begins anew if it is read again
    Forget(Forget),
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
struct Forget {
    /// The instance that keeps the place.
    process: Instance,
    /// The subscription.
    subscription: String,
    /// The journal; without it, all that the subscription has a place in.
    journal: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// A place, and what it holds back.
#[derive(Serialize)]
struct Place {
    #[serde(flatten)]
    lag: Lag,
    /// Bytes of the journal's segments from there on; `None` if there is no such journal.
    kept_bytes: Option<u64>,
}

/// Runs `procession subscriptions`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    match &args.verb {
        Verb::List(list) => list.run(&home, out),
        Verb::Forget(forget) => forget.run(&home, out).map(|()| ExitCode::SUCCESS),
    }
}

impl List {
    fn run(&self, home: &Home, out: &mut Output) -> Result<ExitCode> {
        let mut table = Table::new([
            ("PROCESS", Align::Left),
            ("SUBSCRIPTION", Align::Left),
            ("JOURNAL", Align::Left),
            ("POSITION", Align::Right),
            ("BEHIND", Align::Right),
            ("KEPT FOR IT", Align::Right),
            ("SEEN", Align::Left),
        ]);
        let done = for_each(&home.named(&self.processes)?, |instance| {
            let places = lag::of_subscriber(home, instance);
            for lag in places.with_context(|| format!("the cursors of `{instance}` can't be read"))? {
                let folder = home.folders.state.join(&lag.journal);
                let kept = lag.committed.map(|_| journal::bytes_from(&folder, Offset(lag.acknowledged)));
                let place = Place { kept_bytes: kept.transpose()?, lag };
                if self.json {
                    out.json(&place)?;
                    continue;
                }
                let Place { lag, kept_bytes } = place;
                table.row([
                    (&lag.subscriber).into(),
                    (&lag.subscription).into(),
                    (&lag.journal).into(),
                    lag.acknowledged.into(),
                    or_dash(lag.behind),
                    or_dash(kept_bytes.map(text::bytes)),
                    lag::seen(&lag),
                ]);
            }
            Ok(())
        })?;
        if !self.json {
            table.write(out)?;
        }
        Ok(done)
    }
}

impl Forget {
    fn run(&self, home: &Home, out: &mut Output) -> Result<()> {
        home.named(std::slice::from_ref(&self.process))?;
        let journals = if journal::is_locked(&home.folder(&self.process))? {
            self.ask(home)?
        } else {
            self.forget_for_the_dead(home)?
        };
        for journal in journals {
            let (subscription, journal) = (text::escape(&self.subscription), text::escape(&journal));
            writeln!(out, "{subscription} of {} has no place in {journal} any more", self.process)?;
        }
        Ok(())
    }

    fn ask(&self, home: &Home) -> Result<Vec<String>> {
        block_on(async {
            let mut client = self.patience.connect(home, &self.process).await?;
            let what = subscriptions::Forget {
                subscription: self.subscription.clone(),
                journal: self.journal.clone(),
            };
            let Forgotten { journals } =
                calls::ask(&mut client, &what).await.map_err(|error| self.words(&error))?;
            Ok(journals)
        })
    }

    fn forget_for_the_dead(&self, home: &Home) -> Result<Vec<String>> {
        let folder = home.folder(&self.process);
        let asked = |name: &str, of: &str| {
            *name == *self.subscription && self.journal.as_ref().is_none_or(|only| *only == *of)
        };
        // To take the journal over counts as a restart: not for a name that is mistyped.
        let places = journal::read_cursors(&folder)?;
        if !places.iter().any(|place| asked(&place.subscription, &place.journal)) {
            return Err(self.unknown());
        }
        // Files of another user than the process's own would keep the process from its own journal.
        home.folders.create(&self.process)?;
        // Whatever the process keeps of its own journal is for its own settings to say.
        let retention = Retention { bytes_kept: u64::MAX, ..Options::default().retention };
        let options = Options { retention, ..Options::default() };
        let mut writer = past::stand_in(home, &self.process, &options)?;
        let cursors = Cursors::open(&folder, &writer)?;
        let names = cursors.names().into_iter();
        let journals: Vec<String> =
            names.filter(|(name, of)| asked(name, of)).map(|(_, journal)| journal).collect();
        for journal in &journals {
            cursors.forget(&self.subscription, journal)?;
            writer.forget(&self.subscription, journal)?;
        }
        writer.sync()?;
        if journals.is_empty() { Err(self.unknown()) } else { Ok(journals) }
    }

    fn unknown(&self) -> anyhow::Error {
        let of = self.journal.as_ref().map(|journal| format!(" in `{}`", text::escape(journal)));
        failure(
            format!(
                "`{}` has no place of subscription `{}`{}",
                self.process,
                text::escape(&self.subscription),
                of.unwrap_or_default()
            ),
            format!("procession subscriptions list {}", self.process),
        )
    }

    fn words(&self, error: &ClientError) -> anyhow::Error {
        words::<subscriptions::Forget>(error, &self.process, "subscriptions", |refusal| match refusal {
            ForgetError::Unknown { .. } => Some(self.unknown()),
            ForgetError::BeingRead { .. } => Some(failure(
                format!("`{}` reads subscription `{}` now", self.process, text::escape(&self.subscription)),
                "stop it first: while it reads, it needs its place",
            )),
            _ => None,
        })
    }
}
