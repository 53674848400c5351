//! What every process offers on its socket: each interface described in Varlink's language, and its requests, replies and
//! errors as types, for the side that answers and for those that ask.
//!
//! A request names its method, its reply and its errors ([`Request`](crate::calls::Request)):
//! [`calls::ask`](crate::calls::ask) sends it.
//!
//! What a later version adds to a reply has a default, so that one side may be older than the other.

pub mod dead_letters;
pub mod journal;
pub mod process;
pub mod subscriptions;
