//! What there is to tell of a record: its causes, and the life of the conclusion that it belongs to.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use procession::json::time;
use procession::names::Instance;
use procession::{Item, Level, Offset, Reader, Record, Start};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Args;
use crate::home::Home;
use crate::report::failure;
use crate::said::{EventTime, Said, Saying};
use crate::text;

/// A record, as far as it matters here.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) journal: String,
    pub(super) offset: u64,
    pub(super) time: String,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    /// The payload if it is JSON.
    pub(super) payload: Option<Box<RawValue>>,
    /// What it says of a conclusion, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) says: Option<String>,
    #[serde(skip)]
    pub(super) said: Option<Said>,
    #[serde(skip)]
    cause_of: Option<(String, u64)>,
    pub(super) cause: Option<Cause>,
}

/// What led to a record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// This record.
    Record(Box<Node>),
    /// One that cannot be shown.
    Missing { journal: String, offset: u64, reason: String },
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    pub(super) record: Node,
    /// The life of the conclusion that the record is about, if it is about one.
    pub(super) conclusion: Option<Conclusion>,
}

/// All that was said of one conclusion, in order.
#[derive(Debug, Serialize)]
pub(super) struct Conclusion {
    pub(super) id: String,
    /// What holds in the end: the revision that is asserted and not retracted.
    pub(super) holds: Option<u64>,
    /// Since which record it cannot change any more.
    pub(super) final_since: Option<u64>,
    pub(super) sayings: Vec<Step>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) revision: u64,
    pub(super) at: EventTime,
    /// It is the record that was asked about.
    pub(super) asked: bool,
    #[serde(flatten)]
    pub(super) node: Node,
}

/// What is said of a conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Assert,
    Retract,
    Compensation,
}

pub(super) fn explain(home: &Home, args: &Args) -> Result<Explained> {
    let mut record = match find(home, args.process.as_str(), args.offset)? {
        Ok(node) => node,
        Err(reason) => {
            let what = format!("`{}` has no record {}: {reason}", args.process, args.offset);
            return Err(failure(
                what,
                format!("`procession tail {}/* --until-end` shows what there is", args.process),
            ));
        }
    };
    let saying = record.said.as_ref().and_then(Said::saying).cloned();
    let conclusion = match saying {
        Some(saying) => Some(conclusion(home, args, &saying)?),
        None => None,
    };
    follow(home, &mut record, args.depth, &mut HashSet::new())?;
    Ok(Explained { record, conclusion })
}

/// Adds a record's cause, its cause, and so on. Causes that were shown already are not followed again.
fn follow(home: &Home, node: &mut Node, depth: usize, seen: &mut HashSet<(String, u64)>) -> Result<()> {
    let Some((journal, offset)) = node.cause_of.take() else { return Ok(()) };
    let missing = |reason: &str| {
        let reason = reason.to_owned();
        Some(Cause::Missing { journal: journal.clone(), offset, reason })
    };
    if depth == 0 {
        node.cause = missing("not followed: more by --depth");
        return Ok(());
    }
    if !seen.insert((journal.clone(), offset)) {
        node.cause = missing("shown above");
        return Ok(());
    }
    match find(home, &journal, offset)? {
        Err(reason) => node.cause = missing(&reason),
        Ok(mut cause) => {
            follow(home, &mut cause, depth - 1, seen)?;
            node.cause = Some(Cause::Record(Box::new(cause)));
        }
    }
    Ok(())
}

/// Reads all that the journal says of a conclusion.
fn conclusion(home: &Home, args: &Args, asked: &Saying) -> Result<Conclusion> {
    let journal = args.process.as_str();
    let mut sayings: Vec<Step> = Vec::new();
    let (mut asserted, mut retracted, mut finals) = (0, 0, Vec::new());
    let reader = open(home, journal, Start::Beginning)?;
    let mut reader = reader.context("the journal has gone")?;
    while let Some(item) = reader.next()? {
        let Item::Record(record) = item else { continue };
        let Some(said) = Said::of(&record) else { continue };
        if let Said::Final { at } = &said {
            finals.push((record.offset.0, at.microseconds()));
        }
        if said.saying().is_none_or(|saying| saying.id != asked.id) {
            continue;
        }
        let (kind, revision, at) = match &said {
            Said::Assert { saying, at } => (Kind::Assert, saying.revision, at.clone()),
            Said::Retract { saying, at, .. } => (Kind::Retract, saying.revision, at.clone()),
            Said::Compensation { saying, at } => (Kind::Compensation, saying.revision, at.clone()),
            _ => continue,
        };
        match kind {
            Kind::Assert => asserted = asserted.max(revision),
            Kind::Retract => retracted = retracted.max(revision),
            Kind::Compensation => {}
        }
        let asked = record.offset.0 == args.offset;
        sayings.push(Step { kind, revision, at, asked, node: Node::new(journal, &record) });
    }
    let mut seen = HashSet::new();
    for step in &mut sayings {
        follow(home, &mut step.node, args.depth, &mut seen)?;
    }
    let latest = sayings.iter().filter_map(|step| step.at.microseconds()).max();
    let is_past = |at: &Option<i64>| at.zip(latest).is_some_and(|(at, latest)| at > latest);
    let final_since = finals.into_iter().find(|(_, at)| is_past(at)).map(|(offset, _)| offset);
    let holds = (asserted > retracted).then_some(asserted);
    Ok(Conclusion { id: asked.id.clone(), holds, final_since, sayings })
}

/// A record of any journal, or why it cannot be had.
fn find(home: &Home, journal: &str, offset: u64) -> Result<Result<Node, String>> {
    let Some(mut reader) = open(home, journal, Start::Offset(Offset(offset)))? else {
        return Ok(Err("there is no such journal here".to_owned()));
    };
    Ok(match reader.next()? {
        Some(Item::Record(record)) if record.offset.0 == offset => Ok(Node::new(journal, &record)),
        Some(Item::Gap(gap)) => Err(format!("{}: no longer there", gap.reason)),
        _ => Err("its journal does not go that far".to_owned()),
    })
}

fn open(home: &Home, journal: &str, start: Start) -> Result<Option<Reader>> {
    // A name in a record may be anything.
    let Ok(instance) = Instance::new(journal) else { return Ok(None) };
    Reader::open(&home.folder(&instance), start, Level::Committed)
        .with_context(|| format!("the journal of `{instance}` can't be read"))
}

impl Node {
    fn new(journal: &str, record: &Record<'_>) -> Self {
        let said = Said::of(record);
        Self {
            journal: journal.to_owned(),
            offset: record.offset.0,
            time: time(record.time),
            topic: record.topic.to_owned(),
            key: record.key.map(|key| text::escape_bytes(key).into_owned()),
            payload: serde_json::from_slice::<&RawValue>(record.payload).ok().map(ToOwned::to_owned),
            says: said.as_ref().map(ToString::to_string),
            said,
            cause_of: record.cause.map(|cause| (cause.journal.to_owned(), cause.offset.0)),
            cause: None,
        }
    }
}
