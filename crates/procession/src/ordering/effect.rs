//! Whether what is said can be taken back.

/// What an output does to the world, and so when it may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Effect {
    /// It informs. Said at once; retracted if need be.
    #[default]
    Pure,
    /// Its listeners act on it, and can undo that. Said at once; retracted together with its
    /// [`compensation`](super::Compensate::compensation).
    Compensable,
    /// Its listeners charge a card or print a receipt. Said when it is final, with id and revision as idempotency key.
    Irrevocable,
    /// As [`Effect::Irrevocable`], but said at once: the application accepts that it may have to regret it. If so, it
    /// is retracted, and that is logged as a warning.
    IrrevocableAtOnce,
}

impl Effect {
    /// Whether it is said when it is final only.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Irrevocable)
    }
}
