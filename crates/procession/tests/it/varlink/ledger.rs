//! A journal in memory behind `io.procession.Journal`: just enough to show
//! that clients that aren't ours understand the interface.

use std::sync::{Mutex, PoisonError};

use procession::interfaces::journal;
use procession::varlink::{Answer, Call, CallError, DirectReply, Service};
use serde::Deserialize;
use serde_json::{Value, json};

/// Records, and those who wait for the next one.
pub(crate) struct Ledger(Mutex<State>);

struct State {
    records: Vec<Value>,
    waiting: Vec<(usize, DirectReply)>,
}

#[derive(Deserialize)]
struct Wait {
    after: usize,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    from: Option<usize>,
    #[serde(default)]
    topics: Option<Vec<String>>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { records: Vec::new(), waiting: Vec::new() }))
    }

    /// Adds a record and wakes whoever waits for it.
    pub(crate) fn publish(&self, topic: &str, payload: &Value) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = state.records.len();
        state.records.push(json!({
            "journal": "ledger", "offset": offset, "epoch": 1, "topic": topic,
            "time": "2026-03-01T12:00:00.123456789Z", "payload": payload,
            "key": offset.is_multiple_of(2).then_some("even"),
            "cause": (offset > 0).then(|| json!({"journal": "ledger", "offset": offset - 1})),
        }));
        let committed = state.records.len();
        let (woken, waiting) =
            std::mem::take(&mut state.waiting).into_iter().partition(|(after, _)| committed > *after);
        state.waiting = waiting;
        drop(state);
        for (_, direct) in woken {
            direct.send(&json!({"committed": committed, "epoch": 1}));
        }
    }

    fn wait(&self, call: Call) -> Result<(), CallError> {
        let Wait { after } = call.parameters()?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = state.records.len();
        if committed > after {
            drop(state);
            return call.reply(&json!({"committed": committed, "epoch": 1}));
        }
        state.waiting.retain(|(_, direct)| !direct.is_dead());
        state.waiting.push((after, call.into_direct()));
        Ok(())
    }

    fn info(&self, call: Call) -> Result<(), CallError> {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner).records.len();
        call.reply(&json!({
            "journal": "ledger", "id": "0123", "epoch": 1, "committed": count,
            "durable": count, "trimmed": 0, "bytes": 4096,
            "topics": [{"name": "comment", "records": count}],
        }))
    }

    async fn read(&self, mut call: Call) -> Result<(), CallError> {
        call.require_more()?;
        let Read { from, topics } = call.parameters()?;
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner).records.clone();
        let next = records.len();
        if from.is_some_and(|from| from > next) {
            return Err(CallError::new(
                "io.procession.Journal.BeyondEnd",
                json!({"offset": from, "committed": next}),
            ));
        }
        for (offset, record) in records.iter().enumerate().skip(from.unwrap_or(0)) {
            let wanted =
                topics.as_ref().is_none_or(|topics| topics.iter().any(|topic| record["topic"] == **topic));
            if wanted {
                let reply = json!({"record": record, "next": offset + 1});
                call.feed_continues(&reply).await?;
            }
        }
        let gap = json!({"journal": "ledger", "from": next, "to": next, "reason": "trimmed"});
        call.reply_continues(&json!({"gap": gap, "next": next})).await?;
        call.reply(&json!({"next": next}))
    }
}

impl Service for Ledger {
    fn interface(&self) -> &'static str {
        "io.procession.Journal"
    }

    fn description(&self) -> &'static str {
        journal::DESCRIPTION
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            match call.method() {
                "Info" => self.info(call),
                "Wait" => self.wait(call),
                "Read" => self.read(call).await,
                _ => Err(call.unknown_method()),
            }
        })
    }
}
