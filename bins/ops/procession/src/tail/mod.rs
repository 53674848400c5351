//! `procession tail`: what processes say, as they say it or from any point of the past.
//!
//! The mapped journals are read directly, so it works while everything is down. A caught-up reader sleeps until
//! the publisher's socket wakes it. Several journals are merged by time, as far as they have been written.

mod latch;
mod line;
mod source;
mod tape;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use procession::Start;

use crate::home::Home;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::socket::block_on;

use line::{Form, Template};
use tape::{Drained, Tape};

/// Follow what processes say, or read what they have said.
///
/// One record a line; several journals are merged by time. Works while the processes are down, and waits for
/// those that have never run. Records that can't be given show as a gap, with the reason: trimmed, corrupt or
/// diverged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PROCESS/TOPIC, PROCESS/* or */TOPIC; a process stands for all of its instances. Hidden topics, which
    /// begin with `_`, must be named.
    #[arg(required = true, value_name = "PROCESS/TOPIC")]
    patterns: Vec<Pattern>,
    /// Where to begin: `beginning`, `end`, an offset, or a time such as 2026-01-31T12:00:00Z [default: end;
    /// with --until-end: beginning]
    #[arg(long, value_name = "WHERE", value_parser = parse_start)]
    from: Option<Start>,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End where the journals ended when this began, instead of following.
    #[arg(long)]
    until_end: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// A line of your own: {time} {journal} {topic} {offset} {epoch} {key} {cause} {payload}, and \t, \n.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "json")]
    format: Option<Template>,
}

/// Runs `procession tail`.
pub(crate) fn run(args: Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    let form = match args.format {
        Some(template) => Form::Template(template),
        None if args.json => Form::Json,
        None => Form::Human,
    };
    let begin = if args.until_end { Start::Beginning } else { Start::End };
    let mut tape = Tape::new(home, args.patterns, args.from.unwrap_or(begin), form, args.count);
    if args.until_end {
        tape.open_until_end()?;
        tape.drain(out)?;
    } else {
        block_on(follow(&mut tape, out))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn follow(tape: &mut Tape, out: &mut Output) -> Result<()> {
    tape.open()?;
    tape.say_who_is_missing();
    loop {
        let drained = tape.drain(out)?;
        out.flush()?;
        if drained == Drained::Done || out.is_abandoned() {
            return Ok(());
        }
        tape.sleep().await?;
    }
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let offset = text.parse().map_err(|error| format!("offset {text}: {error}"))?;
            Ok(Start::Offset(procession::Offset(offset)))
        }
        _ => {
            let time: jiff::Timestamp = text.parse().map_err(|_| {
                "it must be `beginning`, `end`, an offset, or a time such as 2026-01-31T12:00:00Z".to_owned()
            })?;
            // Journals have no times before 1970 or after 2554.
            let nanoseconds = time.as_nanosecond().clamp(0, i128::from(u64::MAX));
            Ok(Start::Time(procession::Time(u64::try_from(nanoseconds).expect("it was clamped"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        assert_eq!(parse_start("beginning"), Ok(Start::Beginning));
        assert_eq!(parse_start("end"), Ok(Start::End));
        assert_eq!(parse_start("42"), Ok(Start::Offset(procession::Offset(42))));
        let time = procession::Time(1_500_000_000);
        assert_eq!(parse_start("1970-01-01T00:00:01.5Z"), Ok(Start::Time(time)));
        assert_eq!(parse_start("1970-01-01T02:00:01.5+02:00"), Ok(Start::Time(time)));
        assert_eq!(parse_start("0001-01-01T00:00:00Z"), Ok(Start::Time(procession::Time(0))));
        assert_eq!(parse_start("9999-01-01T00:00:00Z"), Ok(Start::Time(procession::Time(u64::MAX))));
        for bad in ["", "now", "-1", "1.5", "99999999999999999999999", "2026-13-01T00:00:00Z", "2026-01-01"] {
            assert!(parse_start(bad).is_err(), "{bad}");
        }
    }
}
