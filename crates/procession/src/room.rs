//! Saying something as soon as there is room for it.

use std::time::Duration;

use crate::core::Core;
use crate::error::{Error, Result};

/// Between two tries. Nobody tells when readers have passed a segment, or a disk has room again.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(250);

impl Core {
    /// Has `say` say it, again after ever longer pauses while there is no room. Once the process is to stop it has its last
    /// try. If this is dropped, nothing is said that was not said by then.
    pub(crate) async fn when_there_is_room<T>(&self, mut say: impl FnMut() -> Result<T>) -> Result<T> {
        let mut pause = PAUSE_MIN;
        loop {
            let is_last = self.shutdown.is_cancelled();
            match say() {
                Err(Error::Journal(journal::Error::Full { .. })) if !is_last => {}
                said => return said,
            }
            // Over or cut short by a stop: the next try tells.
            let _ = tokio::time::timeout(pause, self.shutdown.cancelled()).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}
