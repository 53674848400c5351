//! Which journals a subscription reads: taking them in as they appear, and looking again for those that could not be taken
//! in.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use journal::Start;

use super::Subscription;
use super::pause::Pause;
use super::source::{Source, is_lack};
use crate::error::{Error, Result};
use crate::event::Payload;
use crate::names::Instance;
use crate::waiting::Waiting;

/// What has yet to be looked at again.
pub(super) struct Overdue {
    /// Where reading begins of those that there are now. A journal that appears while the subscription exists is read from
    /// its beginning.
    start: Start,
    /// The same for each that was there, and could not be taken in.
    starts: BTreeMap<String, Start>,
    pause: Pause,
    /// Why something could not be taken in, or nobody knows what there is.
    waiting: Option<Waiting>,
}

impl Overdue {
    /// Nobody has looked yet.
    pub(super) fn new(start: Start) -> Self {
        Self { start, starts: BTreeMap::new(), pause: Pause::default(), waiting: None }
    }
}

impl<P: Payload> Subscription<P> {
    /// Ready when a folder or a socket may have appeared, or what could not be taken in is to be tried again.
    pub(super) fn poll_appeared(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.overdue.waiting.is_some() && self.overdue.pause.poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.discovery.poll_change(context)
    }

    /// A folder or a socket has appeared.
    pub(super) fn look_around(&mut self) -> Result<()> {
        self.sources.iter_mut().for_each(Source::retry);
        self.discover()
    }

    /// What is kept of finished records goes with the last pattern that takes their journal.
    pub(super) fn forget_other_sources(&self) -> Result<()> {
        let own = self.core.instance.as_str();
        let takes =
            |journal: &str| self.selectors.iter().any(|selector| selector.takes_instance(journal, own));
        self.core.forget_other_sources(&self.name, takes)
    }

    /// Takes in the journals of instances that are named and not read yet. What cannot be had now is tried again after a
    /// pause.
    pub(super) fn discover(&mut self) -> Result<()> {
        let (mut instances, mut trouble) = match self.discovery.instances() {
            Ok(instances) => (instances, None),
            Err(error) => (Vec::new(), Some(format!("nobody knows which instances there are: {error}"))),
        };
        let is_listed = trouble.is_none();
        // A process that has never run is waited for under its own name.
        instances.extend(self.selectors.iter().filter_map(|selector| selector.process()).map(str::to_owned));
        for instance in instances {
            let own = self.core.instance.as_str();
            let wanted = self.selectors.iter().any(|selector| selector.takes_instance(&instance, own));
            if !wanted || self.journals.contains(&instance) {
                continue;
            }
            let start = self.overdue.starts.get(&instance).copied().unwrap_or(self.overdue.start);
            match self.take_in(&instance, start) {
                Ok(()) => {
                    self.overdue.starts.remove(&instance);
                    self.journals.insert(instance);
                }
                Err(Error::Journal(error)) if is_lack(&error) => {
                    trouble.get_or_insert_with(|| {
                        format!("journal {instance} cannot be subscribed to: {error}")
                    });
                    self.overdue.starts.insert(instance, start);
                }
                Err(error) => return Err(error),
            }
        }
        if is_listed {
            self.overdue.start = Start::Beginning;
        }
        self.wait_for_overdue(trouble);
        self.sources.sort_by(|a, b| a.journal.cmp(&b.journal));
        for source in &self.sources {
            self.discovery.attend(&source.journal);
        }
        Ok(())
    }

    fn take_in(&mut self, instance: &str, start: Start) -> Result<()> {
        let cursor = self.core.cursors.claim(&self.name, instance)?;
        let folders = &self.core.folders;
        let publisher = Instance::new(instance)?;
        let (folder, publisher) = (folders.instance(&publisher), folders.endpoint(&publisher));
        let mut source =
            Source::new(instance, folder, publisher, cursor, start, self.level, &self.core.waits);
        if source.open(&self.name)?.is_some() && self.any_order {
            source.allow_any_order(&self.core, !self.keyed)?;
        }
        // Not before: what is in there keeps the cursor from being claimed again.
        if let Some(acks) = source.acks() {
            self.reading.add(acks);
        }
        self.sources.push(source);
        Ok(())
    }

    /// Says what is waited for, if anything.
    fn wait_for_overdue(&mut self, trouble: Option<String>) {
        let Some(trouble) = trouble else {
            self.overdue.waiting = None;
            return;
        };
        let reason = format!("{trouble} (subscription {})", self.name);
        match &self.overdue.waiting {
            Some(waiting) => waiting.say(reason),
            None => self.overdue.waiting = Some(self.core.waits.begin(reason)),
        }
    }
}
