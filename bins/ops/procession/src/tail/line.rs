//! Records and gaps as lines.

use std::borrow::Cow;
use std::io::Write as _;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use procession::json::{JsonGap, JsonRecord, time};
use procession::{Codec, Gap, Record};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::output::{Colour, Output};
use crate::said::{self, Said};
use crate::text;

/// How records are shown.
#[derive(Debug)]
pub(super) enum Form {
    Json,
    Human,
    Template(Template),
}

#[derive(Serialize)]
struct GapLine<'a> {
    gap: JsonGap<'a>,
}

impl Form {
    /// Appends a record's line, without its end.
    pub(super) fn record(&self, line: &mut Vec<u8>, journal: &str, record: &Record<'_>) -> Result<()> {
        match self {
            Self::Json => serde_json::to_writer(line, &JsonRecord::new(journal, record))
                .with_context(|| format!("{journal} offset {} can't be said in JSON", record.offset))?,
            Self::Human => human(line, journal, record)?,
            Self::Template(template) => template.record(line, journal, record)?,
        }
        Ok(())
    }

    /// Appends a gap's line, without its end. It has the same form with a template as without.
    pub(super) fn gap(&self, line: &mut Vec<u8>, journal: &str, gap: &Gap) -> Result<()> {
        match self {
            Self::Json => serde_json::to_writer(line, &GapLine { gap: JsonGap::new(journal, gap) })?,
            Self::Human | Self::Template(_) => {
                let Gap { from, to, reason } = gap;
                write!(line, "gap  {journal}  {from} up to {to}  {reason}")?;
            }
        }
        Ok(())
    }

    /// Writes a line that was made by the above.
    pub(super) fn write(&self, out: &mut Output, line: &[u8], is_gap: bool) -> Result<()> {
        match self {
            Self::Json => out.json_line(line)?,
            Self::Human | Self::Template(_) if is_gap => {
                let painted = out.paint(Colour::Bad, &String::from_utf8_lossy(line));
                writeln!(out, "{painted}")?;
            }
            Self::Template(_) if out.is_terminal() => {
                // The template's own line ends and tabs are meant.
                let text = String::from_utf8_lossy(line);
                let safe = text.split_inclusive(['\n', '\t']).flat_map(|part| {
                    let (text, end) = part.split_at(part.trim_end_matches(['\n', '\t']).len());
                    [text::escape(text), Cow::Borrowed(end)]
                });
                writeln!(out, "{}", safe.collect::<String>())?;
            }
            Self::Human | Self::Template(_) => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

fn human(line: &mut Vec<u8>, journal: &str, record: &Record<'_>) -> std::io::Result<()> {
    let key = record.key.map_or(Cow::Borrowed("-"), text::escape_bytes);
    let (time, topic, offset) = (time(record.time), record.topic, record.offset);
    write!(line, "{time}  {journal}/{topic}  {offset}  {key}  ")?;
    match Said::of(record) {
        None => {
            let payload = payload(record);
            line.extend_from_slice(text::escape_bytes(&payload).as_bytes());
        }
        Some(said @ (Said::Assert { .. } | Said::Compensation { .. })) => {
            let plain = said::plain_payload(record.payload).unwrap_or_default();
            write!(line, "{}  {said}", text::escape(&plain))?;
        }
        Some(said) => write!(line, "{said}")?,
    }
    Ok(())
}

/// The payload on one line if it is JSON, as it is otherwise.
fn payload<'a>(record: &Record<'a>) -> Cow<'a, [u8]> {
    if record.codec == Codec::Json
        && record.payload.contains(&b'\n')
        && let Ok(value) = serde_json::from_slice::<&RawValue>(record.payload)
    {
        return text::compact_json(value.get()).into_bytes().into();
    }
    record.payload.into()
}

/// A line with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Journal,
    Topic,
    Offset,
    Epoch,
    Key,
    Cause,
    Payload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

const FIELDS: [(&str, Field); 8] = [
    ("time", Field::Time),
    ("journal", Field::Journal),
    ("topic", Field::Topic),
    ("offset", Field::Offset),
    ("epoch", Field::Epoch),
    ("key", Field::Key),
    ("cause", Field::Cause),
    ("payload", Field::Payload),
];

impl FromStr for Template {
    type Err = String;

    fn from_str(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(char) = rest.chars().next() {
            let (part, length) = if rest.starts_with("{{") || rest.starts_with("}}") {
                (None, 2)
            } else if char == '{' {
                let (name, _) =
                    rest[1..].split_once('}').ok_or("a `{` has no `}`; for a brace write `{{`")?;
                (Some(field(name)?), name.len() + 2)
            } else {
                (None, char.len_utf8())
            };
            match part {
                Some(field) => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Field(field));
                }
                None if rest.starts_with("\\t") => text.push('\t'),
                None if rest.starts_with("\\n") => text.push('\n'),
                None => text.push(char),
            }
            let length = if rest.starts_with("\\t") || rest.starts_with("\\n") { 2 } else { length };
            rest = &rest[length..];
        }
        parts.push(Part::Text(text));
        Ok(Self(parts))
    }
}

fn field(name: &str) -> Result<Field, String> {
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, field)| *field).ok_or_else(|| {
        let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        format!("there is no field {{{name}}}; there are {}", known.join(", "))
    })
}

impl Template {
    fn record(&self, line: &mut Vec<u8>, journal: &str, record: &Record<'_>) -> std::io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                Part::Field(Field::Time) => write!(line, "{}", time(record.time))?,
                Part::Field(Field::Journal) => line.extend_from_slice(journal.as_bytes()),
                Part::Field(Field::Topic) => line.extend_from_slice(record.topic.as_bytes()),
                Part::Field(Field::Offset) => write!(line, "{}", record.offset)?,
                Part::Field(Field::Epoch) => write!(line, "{}", record.epoch)?,
                Part::Field(Field::Key) => line.extend_from_slice(record.key.unwrap_or_default()),
                Part::Field(Field::Cause) => {
                    if let Some(cause) = record.cause {
                        write!(line, "{}:{}", cause.journal, cause.offset)?;
                    }
                }
                Part::Field(Field::Payload) => line.extend_from_slice(&payload(record)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use journal::{Cause, Entry, Level, Options, Reader, Writer};
    use procession::{GapReason, Item, Offset, Start};

    use super::*;

    /// The line of a record that was written and read, and the time in it.
    fn line(form: &Form) -> (String, String) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("broadcaster");
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let entry = Entry {
            topic: "vote",
            key: Some(b"al\x1bice"),
            cause: Some(Cause { journal: "chain", offset: Offset(3) }),
            codec: Codec::Json,
            payload: b"{\"a\":\n 1.0}",
        };
        Writer::open(&folder, &options).unwrap().append(&entry).unwrap();
        let mut reader = Reader::open(&folder, Start::Beginning, Level::Committed).unwrap().unwrap();
        let Some(Item::Record(record)) = reader.next().unwrap() else { panic!("a record was written") };
        let mut line = Vec::new();
        form.record(&mut line, "broadcaster", &record).unwrap();
        (String::from_utf8(line).unwrap(), time(record.time))
    }

    #[test]
    fn a_person_sees_one_safe_line() {
        let (line, time) = line(&Form::Human);
        assert_eq!(line, format!("{time}  broadcaster/vote  0  al\\u{{1b}}ice  {{\"a\":1.0}}"));
    }

    #[test]
    fn a_template_has_its_own_order() {
        let template = r"{offset}\t{cause} {{{topic}}} {epoch}{payload}\n\x{time}";
        let (line, time) = line(&Form::Template(template.parse().unwrap()));
        assert_eq!(line, format!("0\tchain:3 {{vote}} 1{{\"a\":1.0}}\n\\x{time}"));
        for bad in ["{", "{nothing}", "a {offset"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_gap_says_why() {
        let gap = Gap { from: Offset(2), to: Offset(5), reason: GapReason::Corrupt };
        let mut line = Vec::new();
        Form::Json.gap(&mut line, "bot", &gap).unwrap();
        assert_eq!(line, br#"{"gap":{"journal":"bot","from":2,"to":5,"reason":"corrupt"}}"#);
    }
}
