//! A cursor that is watched: loom fails if two threads move it at once, or one moves it without knowing what the other
//! has done.

use std::cell::RefCell;

use journal::{Offset, Position};
use loom::cell::UnsafeCell;

#[derive(Debug, Default)]
pub(crate) struct Cursor {
    watched: UnsafeCell<()>,
    position: RefCell<Position>,
}

impl Cursor {
    /// It never goes back.
    pub(crate) fn store(&self, position: Position) {
        self.watched.with_mut(|_| ());
        let before = self.position.replace(position);
        assert!(before.next <= position.next, "the cursor went back from {before:?} to {position:?}");
    }

    /// Anybody may look at any time.
    #[expect(clippy::unnecessary_wraps, reason = "as the real one")]
    pub(crate) fn position(&self) -> Option<Position> {
        Some(*self.position.borrow())
    }

    pub(crate) fn attempt(&self, _: Offset) -> u16 {
        1
    }

    pub(crate) fn forgive(&self, _: Offset) {}
}
