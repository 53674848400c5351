//! Atomics and locks: the standard library's, or loom's where a test tries every order of their accesses.

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use modelled::{AtomicBool, AtomicU64};

/// Loom takes a sequentially consistent access for an acquiring or releasing one, but knows sequentially consistent
/// fences. So such a store is followed by a fence here, and such a load comes after one, as compilers do it on
/// processors that have fences only. For a store on either side and a load behind it (Dekker's pattern), which is all
/// that they are used for, that promises the same: one of the two sides sees the other.
#[cfg(loom)]
mod modelled {
    use loom::sync::atomic::{self, Ordering, fence};

    macro_rules! modelled {
        ($name:ident, $of:ty) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name(atomic::$name);

            impl $name {
                pub(crate) fn load(&self, ordering: Ordering) -> $of {
                    let ordering = weakened(ordering);
                    if ordering == Ordering::SeqCst {
                        fence(Ordering::SeqCst);
                    }
                    self.0.load(ordering)
                }

                pub(crate) fn store(&self, value: $of, ordering: Ordering) {
                    let ordering = weakened(ordering);
                    self.0.store(value, ordering);
                    if ordering == Ordering::SeqCst {
                        fence(Ordering::SeqCst);
                    }
                }
            }
        };
    }

    /// `JOURNAL_LOOM_WEAKEN` names an ordering that is not kept: the tests must fail then.
    fn weakened(ordering: Ordering) -> Ordering {
        static WEAK: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let weak = WEAK.get_or_init(|| std::env::var("JOURNAL_LOOM_WEAKEN").unwrap_or_default());
        match (ordering, weak.as_str()) {
            (Ordering::Release, "release") | (Ordering::Acquire, "acquire") => Ordering::Relaxed,
            // Neither a load nor a store may be both.
            (Ordering::SeqCst, "seqcst") => Ordering::Relaxed,
            _ => ordering,
        }
    }

    modelled!(AtomicBool, bool);
    modelled!(AtomicU64, u64);
}
