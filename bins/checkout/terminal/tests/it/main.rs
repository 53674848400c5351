//! The terminal as a process, among the others of a checkout: over HTTP, and in a real browser.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

mod browser;
mod connections;
mod http;
mod shop;
