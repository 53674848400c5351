//! The interfaces of every server, described in Varlink's language.

/// `org.varlink.service`, as <https://varlink.org> has it.
pub const SERVICE: &str = include_str!("interfaces/org.varlink.service.varlink");

/// `io.procession.Protocol`: the errors of the message layer.
pub const PROTOCOL: &str = include_str!("interfaces/io.procession.Protocol.varlink");
