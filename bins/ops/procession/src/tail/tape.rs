//! Several journals as one stream of lines, merged by time.

use std::time::Duration;

use anyhow::Result;
use procession::Start;
use procession::names::Instance;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::latch::{Latch, Woken};
use super::line::Form;
use super::source::{Held, Source};
use crate::home::Home;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::report::failure;

/// How often to look for instances that are new, and whether anybody reads what we write.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// All journals that are read.
pub(super) struct Tape {
    home: Home,
    patterns: Vec<Pattern>,
    start: Start,
    form: Form,
    /// Records that may still be written.
    left: u64,
    sources: Vec<Source>,
    waits: JoinSet<(usize, Woken)>,
    /// When it was last looked what lies where the journals were found.
    looked: Instant,
}

/// Why [`Tape::drain`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    CaughtUp,
    /// As many records as were wanted have been written.
    Done,
}

impl Tape {
    pub(super) fn new(
        home: Home,
        patterns: Vec<Pattern>,
        start: Start,
        form: Form,
        count: Option<u64>,
    ) -> Self {
        let left = count.unwrap_or(u64::MAX);
        Self {
            home,
            patterns,
            start,
            form,
            left,
            sources: Vec::new(),
            waits: JoinSet::new(),
            looked: Instant::now(),
        }
    }

    /// Opens what is there; the rest is waited for.
    pub(super) fn open(&mut self) -> Result<()> {
        self.find_sources()?;
        for source in &mut self.sources {
            source.open(self.start)?;
        }
        // Whatever appears from now on is new, so all of it is wanted.
        if self.start == Start::End {
            self.start = Start::Beginning;
        }
        Ok(())
    }

    /// Opens what is there, up to where it ends now.
    ///
    /// # Errors
    /// A process that is named has no journal.
    pub(super) fn open_until_end(&mut self) -> Result<()> {
        self.home.require_state()?;
        self.find_sources()?;
        let mut there = Vec::new();
        for source in &mut self.sources {
            if source.open(self.start)? {
                source.end_here()?;
                there.push(source.instance.clone());
            } else if self.home.has_journal(&source.instance) {
                let name = &source.instance;
                let what =
                    format!("the marks of `{name}` are damaged, so nobody knows where its journal ends");
                return Err(failure(
                    what,
                    format!("`procession verify {name}`; starting the process mends its marks"),
                ));
            }
        }
        let is_there = |pattern: &Pattern| there.iter().any(|instance| pattern.takes_instance(instance));
        match self.patterns.iter().filter(|pattern| !is_there(pattern)).find_map(Pattern::process) {
            Some(missing) => Err(self.home.unknown(missing, &self.home.named(&[])?)),
            None => Ok(()),
        }
    }

    /// Tells a person that a name may be misspelt.
    pub(super) fn say_who_is_missing(&self) {
        for source in self.sources.iter().filter(|source| !source.is_open()) {
            // The name of a process whose instances have suffixes has no journal of its own.
            let stands_for =
                |other: &&Source| other.is_open() && other.instance.process() == source.instance.as_str();
            if !self.sources.iter().any(|other| stands_for(&other)) {
                note!("waiting for `{}`, which has never run", source.instance);
            }
        }
    }

    /// Writes every line that is there, earliest first.
    pub(super) fn drain(&mut self, out: &mut Output) -> Result<Drained> {
        while self.left > 0 {
            for source in &mut self.sources {
                source.fill(&self.form)?;
            }
            let held = self.sources.iter_mut().filter(|source| source.held().is_some());
            let first = held.min_by(|one, other| one.place().cmp(&other.place()));
            let Some((line, held)) = first.and_then(Source::take) else { return Ok(Drained::CaughtUp) };
            self.form.write(out, line, matches!(held, Held::Gap(_)))?;
            self.left -= u64::from(matches!(held, Held::Record(_)));
        }
        Ok(Drained::Done)
    }

    /// Waits until it is worth looking again.
    pub(super) async fn sleep(&mut self) -> Result<()> {
        for (index, source) in self.sources.iter_mut().enumerate() {
            if let Some(wait) = source.wait() {
                self.waits.spawn(async move { (index, wait.await) });
            }
        }
        tokio::select! {
            Some(Ok((index, woken))) = self.waits.join_next() => {
                self.sources[index].woken(woken);
                Ok(())
            }
            () = sleep_until(self.looked + LOOK_EVERY) => {
                self.looked = Instant::now();
                self.sources.iter_mut().try_for_each(Source::compare)?;
                self.open()
            }
        }
    }

    /// Adds the instances that are meant and not there yet.
    fn find_sources(&mut self) -> Result<()> {
        let mut instances = self.home.instances()?;
        instances.extend(self.patterns.iter().filter_map(|pattern| pattern.process().cloned()));
        instances.sort();
        for instance in instances {
            if self.sources.iter().any(|source| source.instance == instance) {
                continue;
            }
            let wanted = self.patterns.iter().filter(|pattern| pattern.takes_instance(&instance));
            let wanted: Vec<Pattern> = wanted.cloned().collect();
            if !wanted.is_empty() {
                self.add(instance, wanted);
            }
        }
        Ok(())
    }

    fn add(&mut self, instance: Instance, wanted: Vec<Pattern>) {
        let process = self.home.folders.endpoint(&instance);
        let folder = self.home.folder(&instance);
        self.sources.push(Source::new(instance, folder, wanted, Latch::new(process)));
    }
}
