//! Which epochs readers know of a journal, for the writer that begins the next one.
//!
//! An epoch tells what was said in it from what was said in its place after it was lost, so none may be used twice. The
//! marks and the records say which were used, unless an older copy of the journal was put back, or it was begun
//! anew: then those who have read what is lost know more.

use std::path::Path;

use crate::error::Error;
use crate::readers::instances;
use crate::table::read_cursors;
use crate::types::Epoch;

/// So much newer an epoch is believed at most. A reader is not trusted: with the last possible epoch in its table it would
/// keep the writer from ever beginning one.
const AHEAD_MAX: u32 = 1 << 16;

/// The newest epoch of the journal `name`, by its own files or by the cursors in the folders of all instances.
pub(crate) fn newest(own: Epoch, state: &Path, name: &str) -> Epoch {
    let mut newest = own;
    // One whose table cannot be read may be given what it has read of a lost history as if that had never been.
    let untold = |error: &Error| tracing::warn!(%error, "cannot tell which epochs all instances have read");
    let instances = instances(state).inspect_err(untold).into_iter().flatten();
    for instance in instances.filter_map(|instance| instance.inspect_err(untold).ok()) {
        let cursors = read_cursors(&instance).inspect_err(untold).unwrap_or_default();
        for cursor in cursors.iter().filter(|cursor| cursor.journal == name) {
            let epoch = cursor.position.epoch;
            if epoch.0.saturating_sub(own.0) > AHEAD_MAX {
                let subscription = cursor.subscription.as_str();
                tracing::warn!(
                    journal = name,
                    subscription,
                    %epoch,
                    "a subscription claims to have read an epoch that cannot have been: ignored"
                );
            } else {
                newest = newest.max(epoch);
            }
        }
    }
    newest
}
