//! `io.procession.Journal`: the process's journal, for those who can't map it.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use journal::{Item, Level, Offset, Reader, Record, Start, Ticket, Watch};
use tokio::sync::{Notify, Semaphore};

use super::counts::Counts;
use crate::aside;
use crate::calls::{Request as _, answer, refused};
use crate::core::Core;
use crate::interfaces::journal::{
    self as interfaces, GetInfo, Info, JournalError, Moved, Read, ReadItem, Topic, WaitPast,
};
use crate::json::{JsonGap, JsonRecord};
use crate::varlink::{Answer, Call, CallError, CodecError, DirectReply, MESSAGE_BYTES_MAX, Right, Service};

pub(super) struct JournalService {
    core: Arc<Core>,
    /// Locked by the one who counts.
    counts: Arc<Mutex<Counts>>,
    /// One counts at a time.
    counting: Arc<Semaphore>,
}

impl Service for JournalService {
    fn interface(&self) -> &'static str {
        interfaces::NAME
    }

    fn description(&self) -> &'static str {
        interfaces::DESCRIPTION
    }

    fn right(&self, method: &str) -> Right {
        match method {
            "Info" | "Wait" | "Read" => Right::Read,
            _ => Right::Publish,
        }
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.full_method() {
                GetInfo::METHOD => answer(call, |_: GetInfo| self.info()).await,
                WaitPast::METHOD => self.wait(call),
                Read::METHOD => self.read(call).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl JournalService {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        let counting = Arc::new(Semaphore::new(1));
        Self { core: Arc::clone(core), counts: Arc::default(), counting }
    }

    async fn info(&self) -> Result<Info, JournalError> {
        let failed = |error: &dyn fmt::Display| JournalError::unreadable(&error);
        let folder = self.core.folders.instance(&self.core.instance);
        let turn = Arc::clone(&self.counting).acquire_owned().await.map_err(|error| failed(&error))?;
        let counts = Arc::clone(&self.counts);
        // The first time this reads all of the journal: not on the thread that answers everybody else.
        let counted = aside::run(move |gone| {
            let _turn = turn;
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.update(&folder, gone)?;
            let topic = |(name, records): (&str, u64)| Topic { name: name.to_owned(), records };
            let topics: Vec<Topic> = counts.topics().into_iter().map(topic).collect();
            Ok::<_, journal::Error>((topics, journal::bytes_on_disk(&folder)?))
        });
        let (topics, bytes) =
            counted.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let marks = self.core.outlet.watch.marks();
        Ok(Info {
            journal: self.core.instance.as_str().to_owned(),
            id: marks.journal.to_string(),
            epoch: marks.epoch.0,
            committed: marks.committed.0,
            durable: marks.durable.0,
            trimmed: marks.trimmed.0,
            bytes,
            topics,
        })
    }

    /// The latch. The thread that publishes answers by itself: one system call, and no hop to this one.
    fn wait(&self, call: Call) -> Result<(), CallError> {
        let WaitPast { after, epoch, durable } = call.parameters()?;
        if call.oneway() {
            // Nobody would be woken, and nobody would take the waiter back.
            return Ok(());
        }
        let mark = if durable == Some(true) { Mark::Durable } else { Mark::Committed };
        let watch = self.core.outlet.watch.clone();
        let now = watch.marks().epoch.0;
        if epoch.is_some_and(|epoch| epoch != now) {
            return call.reply(&Moved { committed: watch.marks().committed.0, epoch: now });
        }
        let reply = call.into_direct();
        let gone = Arc::new((AtomicBool::new(false), OnceLock::new()));
        reply.on_gone({
            let (gone, watch) = (Arc::clone(&gone), watch.clone());
            move || {
                gone.0.store(true, Ordering::SeqCst);
                if let Some(ticket) = gone.1.get() {
                    mark.cancel(&watch, *ticket);
                }
            }
        });
        let ticket = mark.when_past(&watch, Offset(after), move |committed| wake(reply, committed, now));
        let _ = gone.1.set(ticket);
        // The caller may have left before the hook could know whom to take back.
        if gone.0.load(Ordering::SeqCst) {
            mark.cancel(&watch, ticket);
        }
        Ok(())
    }

    async fn read(&self, mut call: Call) -> Result<(), CallError> {
        call.require_more()?;
        let Read { from, topics, follow, count } = call.parameters()?;
        let topics = Topics::new(topics);
        let failed = |error: &dyn fmt::Display| refuse(&JournalError::unreadable(&error));
        let watch = &self.core.outlet.watch;
        let marks = watch.marks();
        if let Some(offset) = from.filter(|from| *from > marks.committed.0) {
            return Err(refuse(&JournalError::BeyondEnd { offset, committed: marks.committed.0 }));
        }
        let folder = self.core.folders.instance(&self.core.instance);
        let start = from.map_or(Start::Beginning, |from| Start::Offset(Offset(from)));
        let reader = Reader::open(&folder, start, Level::Committed).map_err(|error| failed(&error))?;
        let mut reader = reader.ok_or_else(|| failed(&"the journal has gone"))?;
        let journal = self.core.instance.as_str();
        let mut left = count.unwrap_or(u64::MAX);
        let mut turn = 0_u32;
        while left > 0 {
            let Some(item) = reader.next().map_err(|error| failed(&error))? else {
                call.flush().await?;
                if follow != Some(true) || !self.more_than(reader.position().next).await {
                    break;
                }
                continue;
            };
            match item {
                Item::Record(record) => {
                    if topics.take(record.topic) {
                        feed(&mut call, journal, &record).await?;
                        left -= 1;
                    }
                }
                Item::Gap(gap) => {
                    let item =
                        ReadItem { record: None, gap: Some(JsonGap::new(journal, &gap)), next: gap.to.0 };
                    call.feed_continues(&item).await?;
                }
            }
            turn += 1;
            if turn.is_multiple_of(1024) {
                // Records that nobody wants must not keep the thread from its other callers.
                tokio::task::yield_now().await;
            }
        }
        call.reply(&ReadItem { record: None, gap: None, next: reader.position().next.0 })
    }

    /// Waits until the journal is past `after`; false once the process is to stop.
    async fn more_than(&self, after: Offset) -> bool {
        let notify = Arc::new(Notify::new());
        let woken = Arc::clone(&notify);
        let watch = &self.core.outlet.watch;
        let ticket = watch.when_committed(after, move |_| woken.notify_one());
        let _waiter = Waiter { watch, ticket };
        tokio::select! {
            () = notify.notified() => true,
            () = self.core.shutdown.cancelled() => false,
        }
    }
}

/// Taken back when dropped: also where the caller leaves while it waits.
struct Waiter<'a> {
    watch: &'a Watch,
    ticket: Ticket,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.watch.cancel(self.ticket);
    }
}

/// Sends a record. One that no message has room for goes without its payload, and says how large that is: the
/// reader knows what it hasn't got, and the stream goes on.
async fn feed(call: &mut Call, journal: &str, record: &Record<'_>) -> Result<(), CallError> {
    let next = record.offset.0 + 1;
    if record.payload.len() <= MESSAGE_BYTES_MAX {
        let record = JsonRecord::new(journal, record);
        match call.feed_continues(&ReadItem { record: Some(record), gap: None, next }).await {
            Err(CallError::Encode(CodecError::TooLarge { .. })) => {}
            outcome => return outcome,
        }
    }
    let record = JsonRecord::without_payload(journal, record);
    call.feed_continues(&ReadItem { record: Some(record), gap: None, next }).await
}

/// The topics that a reader chooses.
struct Topics {
    names: HashSet<String>,
    /// All but the hidden ones.
    visible: bool,
}

impl Topics {
    fn new(chosen: Option<Vec<String>>) -> Self {
        let Some(chosen) = chosen else { return Self { names: HashSet::new(), visible: true } };
        Self { visible: chosen.iter().any(|name| name == "*"), names: chosen.into_iter().collect() }
    }

    fn take(&self, topic: &str) -> bool {
        (self.visible && !topic.starts_with('_')) || self.names.contains(topic)
    }
}

/// Which mark a caller waits for.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Committed,
    Durable,
}

impl Mark {
    fn when_past(self, watch: &Watch, after: Offset, wake: impl FnOnce(Offset) + Send + 'static) -> Ticket {
        match self {
            Self::Committed => watch.when_committed(after, wake),
            Self::Durable => watch.when_synced(after, wake),
        }
    }

    fn cancel(self, watch: &Watch, ticket: Ticket) {
        match self {
            Self::Committed => watch.cancel(ticket),
            Self::Durable => watch.cancel_synced(ticket),
        }
    }
}

fn wake(reply: DirectReply, committed: Offset, epoch: u32) {
    reply.send(&Moved { committed: committed.0, epoch });
}

fn refuse(error: &JournalError) -> CallError {
    refused(Read::METHOD, error)
}
