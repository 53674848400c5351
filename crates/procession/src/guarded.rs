//! Application code whose panic is the fault of what it was given, and not of the process.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught: it does not end the process then.
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}

/// What `run` gives; or what it panicked with. Whatever it was changing is to be thrown away then.
#[inline]
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // One may run inside of another.
    let before = IS_ON.replace(true);
    let done = catch_unwind(AssertUnwindSafe(run));
    IS_ON.set(before);
    done.map_err(|panic| text_of(&*panic))
}

#[cold]
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("it makes the model panic: {}", text.unwrap_or("(a payload that is no text)"))
}
