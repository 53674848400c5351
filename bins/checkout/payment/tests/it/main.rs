//! Payment as a process, with a basket and a bank beside it: what it charges, and what it never charges twice.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

mod charges;
mod kills;
mod shop;
mod verification;
