//! The answer for people: a tree, causes below what they led to.

use std::io::Write as _;

use anyhow::Result;

use super::history::{Cause, Conclusion, Explained, Kind, Node, Step};
use crate::output::{Colour, Output};
use crate::said::{Said, plain_payload};
use crate::text;

pub(super) fn write(explained: &Explained, out: &mut Output) -> Result<()> {
    let Explained { record, conclusion } = explained;
    let Some(conclusion) = conclusion else {
        writeln!(out, "{}", line(record))?;
        return causes(record, "", out);
    };
    let Conclusion { sayings, .. } = conclusion;
    for (index, step) in sayings.iter().enumerate() {
        let before = &sayings[..index];
        let mark = if step.asked { "> " } else { "  " };
        let (words, colour) = in_words(step, before);
        writeln!(out, "{mark}{} {}", out.paint(colour, words), line(&step.node))?;
        causes(&step.node, "    ", out)?;
    }
    let standing = match (conclusion.holds, conclusion.final_since) {
        (Some(revision), None) => format!("it holds, as revision {revision}, and may still be taken back"),
        (Some(revision), Some(since)) => {
            format!("it holds, as revision {revision}, and is final since offset {since}")
        }
        (None, None) => "it does not hold; it may still be said again".to_owned(),
        (None, Some(since)) => format!("it does not hold, and that is final since offset {since}"),
    };
    let colour = if conclusion.holds.is_some() { Colour::Good } else { Colour::Bad };
    writeln!(out, "  {}", out.paint(colour, &standing))?;
    Ok(())
}

/// What one saying means after those before it.
fn in_words(step: &Step, before: &[Step]) -> (&'static str, Colour) {
    match step.kind {
        Kind::Assert if before.iter().any(|other| other.kind == Kind::Assert) => {
            ("said again:", Colour::Good)
        }
        Kind::Assert => ("said:", Colour::Good),
        Kind::Retract => ("taken back:", Colour::Bad),
        Kind::Compensation => ("made good:", Colour::Uncertain),
    }
}

/// The causes of a record, each below what it led to.
fn causes(node: &Node, indent: &str, out: &mut Output) -> Result<()> {
    let (mut node, mut indent) = (node, indent.to_owned());
    while let Some(cause) = &node.cause {
        match cause {
            Cause::Missing { journal, offset, reason } => {
                let journal = text::escape(journal);
                writeln!(out, "{indent}because of {journal} {offset} ({})", text::escape(reason))?;
                break;
            }
            Cause::Record(cause) => {
                writeln!(out, "{indent}because of {}", line(cause))?;
                indent.push_str("  ");
                node = cause;
            }
        }
    }
    Ok(())
}

/// A record on one line.
fn line(node: &Node) -> String {
    let Node { journal, offset, time, topic, key, payload, said, .. } = node;
    let mut line = format!("{}/{} {offset}", text::escape(journal), text::escape(topic));
    if let Some(key) = key {
        line.push_str(&format!(" [{key}]"));
    }
    match (said, payload) {
        (Some(said @ (Said::Assert { .. } | Said::Compensation { .. })), Some(payload)) => {
            let plain = plain_payload(payload.get().as_bytes()).unwrap_or_default();
            line.push_str(&format!(" {}, {said}", text::escape(&plain)));
        }
        (Some(said), _) => line.push_str(&format!(" {said}")),
        (None, Some(payload)) => {
            line.push_str(&format!(" {}", text::escape(&text::compact_json(payload.get()))))
        }
        (None, None) => {}
    }
    line.push_str(&format!(", {time}"));
    line
}
