//! The record: a file for people, read back line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::machine::{Machine, PARTS};

/// By how much of itself a count may grow.
const MORE_MAX: f64 = 0.03;

const HEAD: &str = "\
# Instructions for doing each work once, counted by callgrind. `just bench-guard` fails where one has grown by more
# than 3 %; with a reason for it, `just bench-guard --record` writes this file anew, and the commit says the reason.
";

/// Instructions of each work.
pub(crate) type Counts = BTreeMap<String, f64>;

/// What was counted, and where.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) machine: Machine,
    pub(crate) counts: Counts,
}

/// How a count compares with the record. The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Same,
    Better,
    Unknown,
    Worse,
}

impl Verdict {
    /// What is to be done.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Better => "fewer instructions than recorded: `just bench-guard --record` keeps it that way",
            Self::Unknown => "not in the record: `just bench-guard --record` adds it",
            Self::Worse => {
                "more instructions than the record allows. Where the reason is good, `just bench-guard --record`, and \
                 give it in the commit"
            }
        }
    }
}

impl Record {
    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no record", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut machine = Machine { parts: PARTS.map(|name| (name, String::new())) };
        let mut counts = Counts::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let Some((name, value)) = line.split_once(' ') else { bail!("{line:?} has no value") };
            let value = value.trim();
            match machine.parts.iter_mut().find(|(part, _)| *part == name) {
                Some((_, part)) => value.clone_into(part),
                None => {
                    let count = value.parse().with_context(|| format!("{line:?} has no number"))?;
                    counts.insert(name.to_owned(), count);
                }
            }
        }
        Ok(Self { machine, counts })
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, self.text()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for (name, value) in &self.machine.parts {
            let _ = writeln!(text, "{name:<18} {value}");
        }
        text.push('\n');
        for (work, count) in &self.counts {
            let _ = writeln!(text, "{work:<18} {count:>9.1}");
        }
        text
    }

    pub(crate) fn judge(&self, work: &str, counted: f64) -> Verdict {
        match self.counts.get(work) {
            None => Verdict::Unknown,
            Some(recorded) if counted > recorded * (1.0 + MORE_MAX) => Verdict::Worse,
            Some(recorded) if counted < recorded * (1.0 - MORE_MAX) => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }

    /// The work, what is recorded, what was counted, and by how much they differ.
    pub(crate) fn line(&self, work: &str, counted: f64, verdict: Verdict) -> String {
        let Some(recorded) = self.counts.get(work) else {
            return format!("{work:<18} {:>9} {counted:>9.1}           UNKNOWN", "-");
        };
        let percent = (counted / recorded - 1.0) * 100.0;
        let word = match verdict {
            Verdict::Worse => "WORSE",
            Verdict::Better => "BETTER",
            Verdict::Same | Verdict::Unknown => "",
        };
        format!("{work:<18} {recorded:>9.1} {counted:>9.1} {percent:>+7.2} % {word}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counts: &[(&str, f64)]) -> Record {
        let machine = Machine { parts: PARTS.map(|name| (name, format!("{name} 1.2 (x)"))) };
        Record { machine, counts: counts.iter().map(|(work, count)| ((*work).to_owned(), *count)).collect() }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let written = record(&[("publish", 1166.0), ("call", 33_118.2)]);
        let read = Record::parse(&written.text()).expect("it is one");
        assert_eq!((read.machine, read.counts), (written.machine, written.counts));
    }

    #[test]
    fn three_percent_more_is_too_much_and_three_less_is_told() {
        let record = record(&[("publish", 1000.0)]);
        let verdicts = [1031.0, 1029.0, 971.0, 969.0].map(|counted| record.judge("publish", counted));
        assert_eq!(verdicts, [Verdict::Worse, Verdict::Same, Verdict::Same, Verdict::Better]);
        assert_eq!(record.judge("batch", 1.0), Verdict::Unknown);
        assert_eq!(
            record.line("publish", 1031.0, Verdict::Worse),
            "publish               1000.0    1031.0   +3.10 % WORSE"
        );
    }

    #[test]
    fn another_compiler_is_named() {
        let (here, mut there) = (record(&[]).machine, record(&[]).machine);
        assert_eq!(here.differs_from(&there), None);
        there.parts[0].1 = "rustc 2".to_owned();
        let reason = here.differs_from(&there).expect("they differ");
        assert!(reason.contains("compiler") && reason.contains("rustc 2"), "{reason}");
    }
}
