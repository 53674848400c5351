//! Errors in words: what, why, and what to do next.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use procession::exit::{Exit, Report};

/// An error together with what to do about it.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    advice: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Advised {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error.as_ref())
    }
}

/// Adds advice to an error.
pub(crate) trait Advise<T> {
    /// Says what to do about it.
    fn advise(self, advice: impl FnOnce() -> String) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn advise(self, advice: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(Advised { error: error.into(), advice: advice() }))
    }
}

/// An error made of words: what is wrong, and what to do about it.
pub(crate) fn failure(what: impl Into<String>, advice: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Advised { error: anyhow::Error::msg(what.into()), advice: advice.into() })
}

/// Says why a verb failed, and with what code the program is to end.
pub(crate) fn end(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // Whoever read our output has seen enough.
        return Exit::Done.into();
    }
    note!("{}", words(error));
    Exit::of(error.as_ref()).into()
}

/// Does the same for each; what fails for one is said, and keeps nobody else from having his turn.
pub(crate) fn for_each<T>(
    all: &[T],
    mut each: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut worst = Exit::Done;
    for one in all {
        match each(one) {
            Err(error) if is_closed_pipe(&error) => return Err(error),
            Err(error) => {
                note!("{}", words(&error));
                worst = Exit::Failed;
            }
            Ok(()) => {}
        }
    }
    Ok(worst.into())
}

/// A line on standard error. Nobody has to read it, and a full disk changes nothing about what was done.
pub(crate) fn note(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// The error, its causes and the advice, for a person.
pub(crate) fn words(error: &anyhow::Error) -> String {
    let mut words = Report(error.as_ref()).to_string();
    for advised in error.chain().filter_map(|cause| cause.downcast_ref::<Advised>()) {
        words.push_str("\n  try: ");
        words.push_str(&advised.advice);
    }
    words
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_closed))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn advice_comes_last_and_nothing_is_said_twice() {
        let denied: Result<(), _> = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let error = denied.context("can't read it").advise(|| "ask the owner".into()).unwrap_err();
        assert_eq!(
            words(&error),
            "error: can't read it\n  caused by: permission denied\n  try: ask the owner"
        );
        assert_eq!(words(&failure("it is gone", "start it")), "error: it is gone\n  try: start it");
    }

    #[test]
    fn a_closed_pipe_is_no_failure_at_any_depth() {
        let closed: Result<(), _> = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&closed.context("can't write").unwrap_err()));
        assert!(!is_closed_pipe(&failure("x", "y")));
    }
}
