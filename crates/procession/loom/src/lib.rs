//! `procession::acks` under loom: run by `just loom`, empty otherwise.
//!
//! The file itself is compiled in here, with loom's atomics and locks, and over a cursor that is watched.
#![cfg(loom)]

// `deliver`, `acknowledge` and the others are used by the tests alone.
#[cfg_attr(not(test), expect(dead_code, reason = "used by the tests"))]
#[path = "../../src/acks.rs"]
mod acks;
mod cursor;
mod error;
#[cfg(test)]
mod loom_tests;
