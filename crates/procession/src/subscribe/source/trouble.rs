//! A journal that cannot be read: it is waited for, and the others of its subscription go on.

use std::time::Duration;

use tokio::time::Instant;

use super::Source;
use crate::error::{Error, Result};
use crate::waiting::Waiting;

/// So often it is tried again at most, however busy the other journals keep the subscription.
pub(super) const RETRY_EVERY: Duration = Duration::from_millis(250);

/// The process says so for as long as this is there.
pub(super) struct Trouble {
    waiting: Waiting,
    /// When it is tried again.
    due: Instant,
}

/// Whether an error may be gone when it is tried again: what is lacking comes back, a file's rights or bytes may be mended,
/// and a newer program may be installed.
pub(crate) const fn is_lack(error: &journal::Error) -> bool {
    use journal::Error::{Corrupt, ForeignVersion, Full, Io};
    matches!(error, Io { .. } | Full { .. } | Corrupt { .. } | ForeignVersion { .. })
}

impl Source {
    /// Whether the journal could not be read when it was last tried.
    pub(crate) const fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether it is of no use to try yet.
    #[cold]
    pub(super) fn is_in_vain(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.due > Instant::now())
    }

    /// Something may have been mended: no pause any more.
    pub(super) fn hurry(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.due = Instant::now();
        }
    }

    /// Waits for what may be mended; hands back what cannot be.
    #[cold]
    pub(super) fn suffer(&mut self, error: Error) -> Result<()> {
        self.suffer_as(format!("journal {} cannot be read", self.journal), error)
    }

    /// The same, in other words.
    pub(super) fn suffer_as(&mut self, what: String, error: Error) -> Result<()> {
        let Error::Journal(error) = error else { return Err(error) };
        if !is_lack(&error) {
            return Err(error.into());
        }
        let reason = format!("{what}: {error}");
        let due = Instant::now() + RETRY_EVERY;
        match &mut self.trouble {
            Some(trouble) => {
                trouble.waiting.say(reason);
                trouble.due = due;
            }
            None => self.trouble = Some(Trouble { waiting: self.waits.begin(reason), due }),
        }
        Ok(())
    }
}
