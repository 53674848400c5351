//! Letters of earlier lives, and what is to be said of letters once there is room.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use journal::{Offset, Start};

use super::{Register, scan};
use crate::aside::{self, Gone};
use crate::core::Core;
use crate::error::Result;
use crate::files::NO_LETTERS_BEFORE;
use crate::outlet::Batch;

/// So many records are looked through before the process goes on with its start: that takes no time to speak of.
const RECORDS_AT_ONCE: u64 = 10_000;
/// Unless they are large: files of so many bytes are read in a fraction of a second.
const BYTES_AT_ONCE: u64 = 256 << 20;
/// What has failed for another reason than want of room is tried again after so long.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks for the letters of earlier lives. That reads the journal from the oldest one on that was open the last time: if
/// that is much, beside all else.
pub(crate) fn count_earlier(core: &Arc<Core>, runtime: &tokio::runtime::Handle) {
    let from = none_before(core);
    let records = core.outlet.watch.marks().committed.0.saturating_sub(from.0);
    let bytes = journal::bytes_from(&core.folders.instance(&core.instance), from);
    let is_little = records <= RECORDS_AT_ONCE && bytes.is_ok_and(|bytes| bytes <= BYTES_AT_ONCE);
    if is_little && note_found(core, look(core, from, &Gone::default())) {
        return;
    }
    let core = Arc::downgrade(core);
    runtime.spawn(async move { while !look_aside(&core, from).await {} });
}

/// Whether there is nothing more to do.
async fn look_aside(core: &Weak<Core>, from: Offset) -> bool {
    let Some(alive) = core.upgrade() else { return true };
    let shutdown = alive.shutdown.clone();
    let looked = aside::run(move |gone| note_found(&alive, look(&alive, from, gone)));
    tokio::select! {
        () = shutdown.cancelled() => return true,
        looked = looked => match looked {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "open dead letters can't be counted now"),
        },
    }
    tokio::time::timeout(PAUSE, shutdown.cancelled()).await.is_ok()
}

/// Open letters, and where the journal ended.
type Found = (BTreeMap<Offset, ()>, Offset);

/// The open letters from an offset on. None if nobody waits for them any more.
fn look(core: &Core, from: Offset, gone: &Gone) -> Result<Option<Found>> {
    let mut open = BTreeMap::new();
    let folder = core.folders.instance(&core.instance);
    let end = scan(&folder, Start::Offset(from), &mut open, gone, |_| Some(()))?;
    Ok((!gone.is_true()).then_some((open, end)))
}

/// Takes down what a look has found, also for the next life. False if it has found out nothing.
fn note_found(core: &Core, looked: Result<Option<Found>>) -> bool {
    match looked {
        Ok(None) => false,
        Ok(Some((open, end))) => {
            let first = open.keys().next().copied().unwrap_or(end);
            core.outlet.letters.complete(open.into_keys());
            if first.0.saturating_sub(none_before(core).0) > RECORDS_AT_ONCE {
                let mut batch = Batch::new(&core.outlet);
                let said = batch
                    .checkpoint(NO_LETTERS_BEFORE.prefix, &first.0)
                    .map(drop)
                    .and_then(|()| batch.commit());
                if let Err(error) = said {
                    tracing::debug!(%error, "the next life looks through the same records for letters");
                }
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "open dead letters can't be counted now");
            false
        }
    }
}

/// No letter before this offset is open.
fn none_before(core: &Core) -> Offset {
    let known = core.outlet.checkpoint(NO_LETTERS_BEFORE.prefix);
    Offset(known.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default())
}

/// Says what is owed of letters as soon as there is room, for as long as the process lives.
pub(crate) async fn settle_owed(core: Weak<Core>, letters: Arc<Register>) {
    loop {
        letters.owing().await;
        let Some(core) = core.upgrade() else { return };
        while let Some(letter) = letters.first_owed() {
            let settled = match core.when_there_is_room(|| core.outlet.say_owed(letter)).await {
                Ok(Some(end)) => core.outlet.settled(end).await,
                said => said.map(drop),
            };
            if let Err(error) = settled {
                tracing::error!(%error, letter = letter.0, "a dead letter is dealt with, and stays open for now");
                let _ = tokio::time::timeout(PAUSE, core.shutdown.cancelled()).await;
                if core.is_stopping() {
                    // The last try is that of the stop.
                    return;
                }
            }
        }
    }
}
