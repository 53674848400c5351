//! The messages of Varlink: requests and replies.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Names of the errors that this layer itself answers with.
pub mod error_names {
    /// `(interface: string)`
    pub const INTERFACE_NOT_FOUND: &str = "org.varlink.service.InterfaceNotFound";
    /// `(method: string)`
    pub const METHOD_NOT_FOUND: &str = "org.varlink.service.MethodNotFound";
    /// `(method: string)`
    pub const METHOD_NOT_IMPLEMENTED: &str = "org.varlink.service.MethodNotImplemented";
    /// `(parameter: string)`, and here also `reason: string`
    pub const INVALID_PARAMETER: &str = "org.varlink.service.InvalidParameter";
    /// `()`
    pub const PERMISSION_DENIED: &str = "org.varlink.service.PermissionDenied";
    /// `()`
    pub const EXPECTED_MORE: &str = "org.varlink.service.ExpectedMore";
    /// `(limit: int)`
    pub const MESSAGE_TOO_LARGE: &str = "io.procession.Protocol.MessageTooLarge";
    /// `(limit: int)`
    pub const NESTED_TOO_DEEPLY: &str = "io.procession.Protocol.NestedTooDeeply";
    /// `(reason: string)`
    pub const MALFORMED: &str = "io.procession.Protocol.Malformed";
    /// `(milliseconds: int)`
    pub const TIMED_OUT: &str = "io.procession.Protocol.TimedOut";
    /// `(limit: int)`
    pub const TOO_MANY_CONNECTIONS: &str = "io.procession.Protocol.TooManyConnections";
    /// `()`
    pub const UPGRADE_REFUSED: &str = "io.procession.Protocol.UpgradeRefused";
    /// `(reason: string)`
    pub const NO_REPLY: &str = "io.procession.Protocol.NoReply";
    /// `(limit: int)`
    pub const REPLY_TOO_LARGE: &str = "io.procession.Protocol.ReplyTooLarge";
    /// `(limit: int)`
    pub const BUSY: &str = "io.procession.Protocol.Busy";
    /// `(started: bool)`
    pub const DEADLINE_PASSED: &str = "io.procession.Protocol.DeadlinePassed";
    /// `()`
    pub const STOPPING: &str = "io.procession.Protocol.Stopping";
}

/// A request as it arrives. Fields that it doesn't know are ignored.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// `interface.Method`.
    pub method: String,
    /// The parameters, not parsed yet; absent and `null` are the same.
    #[serde(default)]
    pub parameters: Option<Box<RawValue>>,
    /// No reply is wanted.
    #[serde(default, deserialize_with = "flag")]
    pub oneway: bool,
    /// Several replies are welcome.
    #[serde(default, deserialize_with = "flag")]
    pub more: bool,
    /// The connection should turn into another protocol: always refused.
    #[serde(default, deserialize_with = "flag")]
    pub upgrade: bool,
    /// How long the caller waits for the reply. Not of Varlink, and most callers don't say.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// A reply as it arrives. Fields that it doesn't know are ignored.
#[derive(Debug, Deserialize)]
pub struct Reply {
    /// The parameters of the reply or of the error, not parsed yet.
    #[serde(default)]
    pub parameters: Option<Box<RawValue>>,
    /// Further replies follow.
    #[serde(default, deserialize_with = "flag")]
    pub continues: bool,
    /// The error's full name.
    #[serde(default)]
    pub error: Option<String>,
}

/// No parameters: `{}`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct NoParameters {}

/// A request as it is sent.
#[derive(Serialize)]
pub(super) struct OutgoingRequest<'a, P: ?Sized> {
    pub(super) method: &'a str,
    pub(super) parameters: &'a P,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) oneway: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
}

/// A reply as it is sent.
#[derive(Serialize)]
pub(super) struct OutgoingReply<'a, P: ?Sized> {
    pub(super) parameters: &'a P,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) continues: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
}

impl<'a, P: ?Sized> OutgoingReply<'a, P> {
    pub(super) fn last(parameters: &'a P) -> Self {
        Self { parameters, continues: false, error: None }
    }

    pub(super) fn continuing(parameters: &'a P) -> Self {
        Self { parameters, continues: true, error: None }
    }

    pub(super) fn error(name: &'a str, parameters: &'a P) -> Self {
        Self { parameters, continues: false, error: Some(name) }
    }
}

/// Parameters that failed to parse: the field, and what is wrong with it.
#[derive(Debug)]
pub(super) struct BadField {
    pub(super) field: String,
    pub(super) reason: String,
}

/// Parses parameters; absent ones are an empty object.
pub(super) fn parse_parameters<T: DeserializeOwned>(parameters: Option<&RawValue>) -> Result<T, BadField> {
    let text = parameters.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err(BadField {
            field: "parameters".to_owned(),
            reason: "parameters must be an object".to_owned(),
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        BadField { field: named_field(&path, &reason), reason }
    })
}

/// The path of the field. A missing or unknown one is not on the path: serde
/// names it between backticks in the message.
fn named_field(path: &str, reason: &str) -> String {
    let missing = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| reason.strip_prefix(start)?.split('`').next());
    let parent = path.trim_end_matches('.');
    match missing {
        Some(field) if parent.is_empty() || parent == field => field.to_owned(),
        Some(field) if parent.ends_with(&format!(".{field}")) => parent.to_owned(),
        Some(field) => format!("{parent}.{field}"),
        None if parent.is_empty() => "parameters".to_owned(),
        None => parent.to_owned(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A flag; `null` is false.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Wait {
        after: u64,
        #[serde(default)]
        place: Place,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Place {
        rows: Vec<u8>,
    }

    fn field_of(parameters: &str) -> String {
        let raw = RawValue::from_string(parameters.to_owned()).unwrap();
        parse_parameters::<Wait>(Some(&raw)).unwrap_err().field
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (parameters, field) in [
            ("{}", "after"),
            (r#"{"after":"x"}"#, "after"),
            (r#"{"after":-1}"#, "after"),
            (r#"{"after":1,"other":2}"#, "other"),
            (r#"{"after":1,"place":{"rows":[1,2,300]}}"#, "place.rows[2]"),
            (r#"{"after":1,"place":{"seat":1}}"#, "place.seat"),
            ("[1]", "parameters"),
            ("7", "parameters"),
        ] {
            assert_eq!(field_of(parameters), field, "{parameters}");
        }
    }

    #[test]
    fn absent_and_null_are_the_same() {
        for text in [
            r#"{"method":"a.B"}"#,
            r#"{"method":"a.B","parameters":null,"more":null,"oneway":null,"upgrade":null}"#,
            r#"{"method":"a.B","something":{"new":true}}"#,
        ] {
            let request: Request = serde_json::from_str(text).unwrap();
            assert!(request.parameters.is_none() && !request.more && !request.oneway);
            parse_parameters::<NoParameters>(request.parameters.as_deref()).unwrap();
        }
        let reply: Reply = serde_json::from_str("{}").unwrap();
        assert!(reply.parameters.is_none() && !reply.continues && reply.error.is_none());
    }

    #[test]
    fn what_is_not_needed_is_not_sent() {
        let request = OutgoingRequest {
            method: "a.B",
            parameters: &NoParameters {},
            oneway: false,
            more: true,
            timeout_ms: None,
        };
        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({"method": "a.B", "parameters": {}, "more": true})
        );
        assert_eq!(
            serde_json::to_value(OutgoingReply::last(&json!({"n": 1}))).unwrap(),
            json!({"parameters": {"n": 1}})
        );
        assert_eq!(
            serde_json::to_value(OutgoingReply::error("a.E", &NoParameters {})).unwrap(),
            json!({"parameters": {}, "error": "a.E"})
        );
    }
}
