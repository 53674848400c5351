//! What is kept of finished records belongs to a subscription and a journal: it goes when the subscription is forgotten,
//! and when the journal is no longer among its sources.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;

use crate::beyond;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::{FINISHED, FINISHED_BLOCKS, PARKED_KEYS};
use crate::subscribe::parked_checkpoint;

impl Core {
    /// Forgets what is kept of subscriptions that have no cursor any more.
    pub(crate) fn forget_leftovers(&self) -> Result<()> {
        let instance = self.folders.instance(&self.instance);
        let cursors = self.cursors.names();
        let owners: HashSet<(&str, &str)> =
            cursors.iter().map(|(subscription, journal)| (&**subscription, &**journal)).collect();
        let subscriptions: BTreeSet<&str> = owners.iter().map(|(subscription, _)| *subscription).collect();
        let blocks: HashSet<String> =
            owners.iter().map(|(subscription, journal)| beyond::prefix(subscription, journal)).collect();
        let keys: HashSet<String> =
            subscriptions.iter().map(|subscription| parked_checkpoint(subscription)).collect();
        let gone = self.outlet.checkpoint_names().into_iter().filter(|name| {
            let owner = name.rfind('/').map_or("", |end| &name[..=end]);
            FINISHED_BLOCKS.is(name) && !blocks.contains(owner)
                || PARKED_KEYS.is(name) && !keys.contains(name)
        });
        self.outlet.remove_checkpoints(&gone.collect::<Vec<_>>())?;
        let folder = FINISHED.folder(&instance);
        let failed = |source| Error::Io { action: "look through", path: folder.clone(), source };
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files.map_err(failed)?,
        };
        for file in files {
            let file = file.map_err(failed)?;
            let name = file.file_name();
            let parts = name.to_str().and_then(|name| FINISHED.parts(name));
            let Some([subscription, journal]) = parts.as_deref() else { continue };
            if !owners.contains(&(*subscription, *journal)) {
                remove(&file.path())?;
            }
        }
        Ok(())
    }

    /// Forgets what is kept of a subscription's finished records in one journal, which it must not be reading.
    pub(crate) fn forget_finished(&self, subscription: &str, journal: &str) -> Result<()> {
        let prefix = beyond::prefix(subscription, journal);
        let names = self.outlet.checkpoint_names().into_iter().filter(|name| name.starts_with(&prefix));
        self.outlet.remove_checkpoints(&names.collect::<Vec<_>>())?;
        remove(&FINISHED.path(&self.folders.instance(&self.instance), &[subscription, journal]))
    }

    /// Forgets what is kept of journals that are not among a subscription's sources any more.
    pub(crate) fn forget_other_sources(
        &self,
        subscription: &str,
        is_source: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let cursors = journal::read_cursors(&self.folders.instance(&self.instance))?;
        let own = cursors.iter().filter(|cursor| cursor.subscription == subscription);
        for cursor in own.filter(|cursor| !is_source(&cursor.journal)) {
            self.forget_finished(subscription, &cursor.journal)?;
        }
        Ok(())
    }
}

fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
