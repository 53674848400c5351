//! The interfaces that every process offers, described in Varlink's language.

/// `org.varlink.service`, as <https://varlink.org> has it.
pub const SERVICE: &str = include_str!("interfaces/org.varlink.service.varlink");

/// `io.procession.Protocol`: the errors of the message layer.
pub const PROTOCOL: &str = include_str!("interfaces/io.procession.Protocol.varlink");

/// `io.procession.Process`: one process and its state.
pub const PROCESS: &str = include_str!("interfaces/io.procession.Process.varlink");

/// `io.procession.Journal`: one process's journal.
pub const JOURNAL: &str = include_str!("interfaces/io.procession.Journal.varlink");

/// `io.procession.DeadLetters`: events that a process could not deal with.
pub const DEAD_LETTERS: &str = include_str!("interfaces/io.procession.DeadLetters.varlink");

/// `io.procession.Subscriptions`: places that a process keeps in the journals of others.
pub const SUBSCRIPTIONS: &str = include_str!("interfaces/io.procession.Subscriptions.varlink");
