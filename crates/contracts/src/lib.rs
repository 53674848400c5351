//! The event types that processes share: one module per bounded context.
//!
//! A module here is a *published language*: what one process says and others read, with nothing about
//! how it is said. Types carry their topic and key ([`procession::Event`]); the JSON forms are described
//! beside the types, because programs in other languages read them too.

pub mod checkout;
pub mod hive;
