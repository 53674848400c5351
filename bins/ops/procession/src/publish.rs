//! `procession publish`: say something by hand.
//!
//! The command is, for a moment, the only writer of a journal, as any process is of its own. It serves no socket,
//! so those who listen notice within a second.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use journal::{Codec, Entry, Error, Offset, Options, PAYLOAD_BYTES_MAX, Writer};
use procession::names::{self, Instance};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::home::Home;
use crate::output::Output;
use crate::past;
use crate::report::{Advise as _, failure};
use crate::text::{Count, compact_json};

/// In whose name is spoken if none is given.
const SPEAKER: &str = "cli";
/// Small: what is said by hand is little.
const SEGMENT_BYTES: u64 = 1 << 20;

/// Publish JSON, given or as lines of standard input, and print the offsets.
///
/// What is said here nobody hears who listens to another process: `--as broadcaster comment '{…}'` says `broadcaster/comment`,
/// while broadcaster is stopped.
///
/// Numbers and the order of keys stay as they are given; white space between them goes. Of the lines of standard
/// input, each is one record; those before a bad line are published.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    #[arg(value_parser = parse_topic)]
    topic: String,
    /// The payload; without it, lines of JSON are read from standard input.
    #[arg(value_name = "JSON")]
    payload: Option<String>,
    /// The process in whose name to speak; it must not be running [default: cli]
    #[arg(long = "as", value_name = "NAME")]
    speaker: Option<Instance>,
    /// Records with the same key are kept in order.
    #[arg(long)]
    key: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Published<'a> {
    journal: &'a str,
    offset: u64,
}

/// Runs `procession publish`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    // A bad payload must not leave a trace in the state folder.
    let payload = args.payload.as_deref().map(|json| check(json.as_bytes())).transpose()?;
    let home = Home::find()?;
    let name = match &args.speaker {
        Some(speaker) => speaker.clone(),
        None => speaker_of(&home, &args.topic)?,
    };
    let mut speaker = Speaker { writer: open(&home, &name)?, name, args };
    let said = match payload {
        Some(payload) => speaker.say(&payload, out),
        None => speaker.say_lines(io::stdin().lock(), out),
    };
    speaker.writer.sync().with_context(|| "what was published isn't safe from power loss yet")?;
    said.map(|()| ExitCode::SUCCESS)
}

struct Speaker<'a> {
    writer: Writer,
    name: Instance,
    args: &'a Args,
}

impl Speaker<'_> {
    fn say(&mut self, payload: &str, out: &mut Output) -> Result<()> {
        let key = self.args.key.as_deref().map(str::as_bytes);
        let (topic, payload) = (self.args.topic.as_str(), payload.as_bytes());
        let offset = self.writer.append(&Entry { topic, key, cause: None, codec: Codec::Json, payload })?;
        self.print(offset, out)
    }

    fn say_lines(&mut self, mut input: impl BufRead, out: &mut Output) -> Result<()> {
        if io::stdin().is_terminal() {
            note!("type one JSON value a line; Ctrl-D ends");
        }
        let mut line = Vec::new();
        let mut said = 0;
        for number in 1_u64.. {
            let before = || {
                let said = Count(said, "record");
                format!("mend line {number} and go on from there: {said} before it published")
            };
            if !read_line(&mut input, &mut line).with_context(|| format!("line {number}")).advise(before)? {
                break;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let payload = check(&line).with_context(|| format!("line {number}")).advise(before)?;
            self.say(&payload, out).with_context(|| format!("line {number}")).advise(before)?;
            said += 1;
            if out.is_terminal() {
                out.flush()?;
            }
        }
        Ok(())
    }

    fn print(&self, offset: Offset, out: &mut Output) -> Result<()> {
        if self.args.json {
            out.json(&Published { journal: self.name.as_str(), offset: offset.0 })
        } else {
            Ok(writeln!(out, "{offset}")?)
        }
    }
}

/// Who speaks if nobody is named. Everywhere else `PROCESS/TOPIC` is a topic of that process: that isn't said as `cli` under
/// a topic of two words.
fn speaker_of(home: &Home, topic: &str) -> Result<Instance> {
    let meant = topic.split_once('/').and_then(|(process, rest)| Some((Instance::new(process).ok()?, rest)));
    if let Some((process, rest)) = meant.filter(|(process, _)| home.has_journal(process)) {
        let what =
            format!("`{process}` is a process, and `{SPEAKER}` would say this under the topic `{topic}`");
        let advice = format!(
            "--as {process} {rest}, if {process} is stopped; or, if it is that topic, --as {SPEAKER}"
        );
        return Err(failure(what, advice));
    }
    Ok(Instance::new(SPEAKER)?)
}

fn open(home: &Home, speaker: &Instance) -> Result<Writer> {
    home.folders.create(speaker)?;
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    match past::stand_in(home, speaker, &options) {
        Ok(writer) => Ok(writer),
        Err(Error::Locked { holder, .. }) => {
            let holder = holder.map(|holder| format!(" ({holder})")).unwrap_or_default();
            let what = format!("`{speaker}` is running{holder}, and nobody else can speak in its name");
            Err(anyhow!(what)).advise(|| "stop it first, or speak as another by --as NAME".into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads a line of bounded length; false at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let read = input.take(PAYLOAD_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.len() > PAYLOAD_BYTES_MAX {
        return Err(anyhow!("it is longer than {PAYLOAD_BYTES_MAX} bytes"));
    }
    Ok(read > 0)
}

/// The payload without needless white space.
fn check(json: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(json).context("the payload is not UTF-8")?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(compact_json(text)),
        Err(error) => Err(error).context("the payload is not JSON").advise(|| {
            "quote text as JSON does, and all of it for the shell: '{\"name\": \"value\"}'".into()
        }),
    }
}

fn parse_topic(topic: &str) -> Result<String, names::NameError> {
    names::check_topic(topic).map(|()| topic.to_owned())
}
