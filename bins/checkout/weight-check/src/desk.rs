//! The answers to weight-check's calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::checkout::names::check_session;
use contracts::checkout::{At, GetVerdict, Verdict, WeightCheckError};
use procession::ordering::Change;

use crate::weighing::Weighing;

/// What the model has published, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// A lock, because calls are tasks beside the model; held for one look.
    published: Mutex<Published>,
}

#[derive(Debug, Default)]
struct Published {
    verdicts: HashMap<Vec<u8>, Verdict>,
    settled: Option<At>,
}

impl Desk {
    /// The model has published something. Verdicts come before the time up to which they are final.
    pub(crate) fn note(&self, change: Change<'_, Weighing>) {
        let mut published = self.lock();
        match change {
            Change::State { key, state } => {
                published.verdicts.insert(key.to_vec(), state.verdict());
            }
            Change::Over { key } => {
                published.verdicts.remove(key);
            }
            Change::Final(at) => published.settled = Some(at),
        }
    }

    /// The verdict on a session as things stand. Nothing is known before it has begun, or after it has ended.
    pub(crate) async fn verdict(self: Arc<Self>, request: GetVerdict) -> Result<Verdict, WeightCheckError> {
        check_session(&request.session)?;
        let published = self.lock();
        let verdict = published.verdicts.get(request.session.as_bytes()).cloned().unwrap_or_default();
        Ok(Verdict { settled: published.settled, ..verdict })
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        // One entry is changed at a time: a panic leaves no half of it.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
