//! The command line from outside: the real program, real processes, real files.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod chaos;
mod conclusions;
mod doctor;
mod manual;
mod new;
mod processes;
mod publish;
mod subscriptions;
mod support;
mod tail;
mod verify;
mod waiting;
