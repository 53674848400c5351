//! `io.procession.Journal`: the process's journal, for those who can't map it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use journal::{Item, Level, Offset, Reader, Start, Ticket, Watch};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use crate::core::Core;
use crate::json::{JsonGap, JsonRecord};
use crate::varlink::{self, Answer, Call, CallError, DirectReply, Right, Service};

pub(super) struct JournalService {
    pub(super) core: Arc<Core>,
}

#[derive(Deserialize)]
struct WaitFor {
    after: u64,
    epoch: Option<u32>,
    durable: Option<bool>,
}

#[derive(Serialize)]
struct Woken {
    committed: u64,
    epoch: u32,
}

#[derive(Deserialize)]
struct ReadWhat {
    from: Option<u64>,
    topics: Option<Vec<String>>,
    follow: Option<bool>,
    count: Option<u64>,
}

#[derive(Serialize)]
struct ReadItem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<JsonRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<JsonGap<'a>>,
    next: u64,
}

impl Service for JournalService {
    fn interface(&self) -> &'static str {
        "io.procession.Journal"
    }

    fn description(&self) -> &'static str {
        varlink::JOURNAL
    }

    fn right(&self, method: &str) -> Right {
        match method {
            "Info" | "Wait" | "Read" => Right::Read,
            _ => Right::Publish,
        }
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.method() {
                "Info" => self.info(call).await,
                "Wait" => self.wait(call),
                "Read" => self.read(call).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}

impl JournalService {
    async fn info(&self, call: Call) -> Result<(), CallError> {
        let folder = self.core.folders.instance(&self.core.instance);
        // Counting reads all of the journal: not on the thread that answers everybody else.
        let counted = tokio::task::spawn_blocking(move || {
            Ok::<_, journal::Error>((journal::count_topics(&folder)?, journal::bytes_on_disk(&folder)?))
        });
        let (topics, bytes) =
            counted.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let topics: Vec<_> =
            topics.into_iter().map(|(name, records)| json!({"name": name, "records": records})).collect();
        let marks = self.core.outlet.watch.marks();
        call.reply(&json!({
            "journal": self.core.instance.as_str(),
            "id": marks.journal.to_string(),
            "epoch": marks.epoch.0,
            "committed": marks.committed.0,
            "durable": marks.durable.0,
            "trimmed": marks.trimmed.0,
            "bytes": bytes,
            "topics": topics,
        }))
    }

    /// The latch. The thread that publishes answers by itself: one system call, and no hop to this one.
    fn wait(&self, call: Call) -> Result<(), CallError> {
        let WaitFor { after, epoch, durable } = call.parameters()?;
        let mark = if durable == Some(true) { Mark::Durable } else { Mark::Committed };
        let watch = self.core.outlet.watch.clone();
        let now = watch.marks().epoch.0;
        if epoch.is_some_and(|epoch| epoch != now) {
            return call.reply(&Woken { committed: watch.marks().committed.0, epoch: now });
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
        let what: ReadWhat = call.parameters()?;
        let watch = &self.core.outlet.watch;
        let marks = watch.marks();
        if let Some(from) = what.from.filter(|from| *from > marks.committed.0) {
            let parameters = json!({"offset": from, "committed": marks.committed.0});
            return Err(CallError::new("io.procession.Journal.BeyondEnd", parameters));
        }
        let folder = self.core.folders.instance(&self.core.instance);
        let start = what.from.map_or(Start::Beginning, |from| Start::Offset(Offset(from)));
        let reader = Reader::open(&folder, start, Level::Committed).map_err(|error| failed(&error))?;
        let mut reader = reader.ok_or_else(|| failed(&"the journal has gone"))?;
        let journal = self.core.instance.as_str();
        let mut left = what.count.unwrap_or(u64::MAX);
        let mut turn = 0_u32;
        while left > 0 {
            let Some(item) = reader.next().map_err(|error| failed(&error))? else {
                call.flush().await?;
                if what.follow != Some(true) || !self.more_than(reader.position().next).await {
                    break;
                }
                continue;
            };
            match item {
                Item::Record(record) => {
                    if is_wanted(record.topic, what.topics.as_deref()) {
                        let next = record.offset.0 + 1;
                        let item =
                            ReadItem { record: Some(JsonRecord::new(journal, &record)), gap: None, next };
                        call.feed_continues(&item).await?;
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
        let ticket = self.core.outlet.watch.when_committed(after, move |_| woken.notify_one());
        let more = tokio::select! {
            () = notify.notified() => true,
            () = self.core.shutdown.cancelled() => false,
        };
        self.core.outlet.watch.cancel(ticket);
        more
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
    reply.send(&Woken { committed: committed.0, epoch });
}

fn is_wanted(topic: &str, topics: Option<&[String]>) -> bool {
    match topics {
        None => !topic.starts_with('_'),
        Some(topics) => {
            topics.iter().any(|wanted| wanted == topic || (wanted == "*" && !topic.starts_with('_')))
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> CallError {
    CallError::new("io.procession.Journal.Unreadable", json!({"reason": error.to_string()}))
}
