//! What can go wrong with one request to one node, and what it means for the next step.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How much of a node's text is kept for the log.
const EXCERPT_CHARS_MAX: usize = 160;

/// JSON-RPC's own codes, hived's and those of the proxies before it.
mod code {
    pub(super) const PARSE: i64 = -32700;
    pub(super) const INVALID_REQUEST: i64 = -32600;
    pub(super) const UNKNOWN_METHOD: i64 = -32601;
    pub(super) const INVALID_PARAMS: i64 = -32602;
    pub(super) const INTERNAL: i64 = -32603;
    pub(super) const NO_PARAMS: i64 = -32001;
    pub(super) const PARAMS: i64 = -32002;
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Passing: ask another node, and this one again after a while.
    Elsewhere,
    /// Final for this node and this method: ask it in another way, or another node.
    Unsupported,
    /// Final for this node: whatever is at this URL, it doesn't serve the chain to us.
    Unusable,
    /// The request itself is wrong: another node would say the same.
    OurFault,
}

/// Why one request got no usable answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke: refused, reset, TLS, cut off.
    Transport { what: String },
    /// An HTTP status that isn't a success, with a body that isn't JSON-RPC.
    Http { status: u16, retry_after: Option<Duration>, excerpt: String },
    /// A JSON-RPC error.
    Rpc { code: i64, message: String },
    /// A success whose body isn't JSON: cut off, a page, an exception's text.
    NotJson { excerpt: String },
    /// JSON, but not what was asked for.
    Malformed { what: String },
    /// Every form of the question has been refused before.
    NoWay { method: &'static str },
    /// More bytes than any true answer has.
    TooLarge { bytes_max: usize },
}

impl Failure {
    pub(crate) fn malformed(what: impl fmt::Display) -> Self {
        Failure::Malformed { what: what.to_string() }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Failure::Timeout
            | Failure::Transport { .. }
            | Failure::Malformed { .. }
            | Failure::TooLarge { .. } => Verdict::Elsewhere,
            Failure::NoWay { .. } => Verdict::Unusable,
            Failure::Http { status, .. } => match status {
                408 | 425 | 429 | 500.. => Verdict::Elsewhere,
                _ => Verdict::Unusable,
            },
            Failure::NotJson { excerpt } => verdict_of_text(excerpt),
            Failure::Rpc { code, message } => verdict_of_code(*code, message),
        }
    }

    /// How long the node asked us to stay away.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Timeout => to.write_str("no answer in time"),
            Failure::Transport { what } => write!(to, "connection failed: {what}"),
            Failure::Http { status, excerpt, .. } => write!(to, "HTTP {status}: {excerpt}"),
            Failure::Rpc { code, message } => write!(to, "error {code}: {message}"),
            Failure::NotJson { excerpt } => write!(to, "the answer isn't JSON: {excerpt}"),
            Failure::Malformed { what } => write!(to, "the answer isn't what was asked for: {what}"),
            Failure::NoWay { method } => {
                write!(to, "the node serves neither {method} nor another form of it")
            }
            Failure::TooLarge { bytes_max } => write!(to, "the answer has more than {bytes_max} bytes"),
        }
    }
}

fn verdict_of_code(code: i64, message: &str) -> Verdict {
    match code {
        code::UNKNOWN_METHOD => Verdict::Unsupported,
        code::INTERNAL | 408 | 429 | 1000..=1599 => Verdict::Elsewhere,
        code::PARAMS if verdict_of_text(message) == Verdict::Unsupported => Verdict::Unsupported,
        code::PARSE | code::INVALID_REQUEST | code::INVALID_PARAMS | code::NO_PARAMS | code::PARAMS => {
            Verdict::OurFault
        }
        400..=499 | 1600..=1799 => Verdict::OurFault,
        // hived's -32000 (server) and -32003 (during the call), old steemd's 1, and whatever else there is:
        // only the text tells. What it doesn't tell is taken as passing, since that can't hold us up.
        _ => verdict_of_text(message),
    }
}

/// The first list with a phrase that occurs in the text decides.
fn verdict_of_text(text: &str) -> Verdict {
    const PASSING: &[&str] = &["database lock", "timeout", "timed out"];
    const UNSUPPORTED: &[&str] = &[
        "could not find method",
        "could not find api",
        "no method with name",
        "supported by hivemind",
        "not enabled",
        "needs to be refactored",
    ];
    const OUR_FAULT: &[&str] = &[
        "parse error",
        "bad cast",
        "bad_cast",
        "invalid hex",
        "unknown key",
        "out of range",
        "assert exception",
        "assert_exception",
        "plugin exception",
        "missing required",
        "tx_missing",
        "irrelevant signature",
    ];
    let text = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if says(PASSING) {
        Verdict::Elsewhere
    } else if says(UNSUPPORTED) {
        Verdict::Unsupported
    } else if says(OUR_FAULT) {
        Verdict::OurFault
    } else {
        Verdict::Elsewhere
    }
}

/// The `result` of a JSON-RPC answer, which may be `null`.
///
/// The body is read before the status is judged, because newer proxies send errors with status 500.
pub(crate) fn result_of(
    status: u16,
    retry_after: Option<Duration>,
    body: &str,
) -> Result<&RawValue, Failure> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let success = (200..300).contains(&status);
    match serde_json::from_str::<Answer<'_>>(body) {
        Ok(Answer { error: Some(error), .. }) => Err(rpc_error(error)),
        _ if !success => Err(Failure::Http { status, retry_after, excerpt: excerpt(body) }),
        Ok(Answer { result: Some(result), .. }) => Ok(result),
        Ok(_) => Err(Failure::malformed("neither result nor error")),
        Err(_) => Err(Failure::NotJson { excerpt: excerpt(body) }),
    }
}

/// For `#[serde(deserialize_with)]`: tells `null` from nothing at all.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn rpc_error(error: &RawValue) -> Failure {
    #[derive(Deserialize)]
    struct Object {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: String,
    }
    match serde_json::from_str::<Object>(error.get()) {
        Ok(Object { code, message }) => Failure::Rpc { code, message: excerpt(&message) },
        Err(_) => Failure::Rpc { code: 0, message: excerpt(error.get()) },
    }
}

/// The beginning of a node's text on one line, fit for a log.
fn excerpt(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|char| !char.is_control()).take(EXCERPT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings;

    /// Every recorded failure by its line: what its record must say, and what we make of it.
    const RECORDED: &[(std::ops::RangeInclusive<usize>, Verdict, &str)] = &[
        (0..=33, Verdict::OurFault, "\"code\":-3200"),
        (34..=35, Verdict::Unsupported, "-32003"),
        (36..=36, Verdict::OurFault, "unknown key"),
        (37..=43, Verdict::Unsupported, "-32003"),
        (44..=44, Verdict::OurFault, "Given account does not exist"),
        (45..=52, Verdict::Unsupported, "-32003"),
        (53..=55, Verdict::OurFault, "-32000"),
        (56..=56, Verdict::OurFault, "Expected #s argument"),
        (57..=57, Verdict::Elsewhere, "Internal Error"),
        (58..=59, Verdict::Unsupported, "-3200"),
        (60..=60, Verdict::OurFault, "Expected 1-2 arguments"),
        (61..=61, Verdict::OurFault, "Invalid parameters"),
        (62..=62, Verdict::Elsewhere, "Request Timeout"),
        (63..=63, Verdict::Elsewhere, "\"http_status\":502"),
        (64..=64, Verdict::OurFault, "a block that is too old"),
        (65..=65, Verdict::OurFault, "missing or wrong parameters"),
        (66..=66, Verdict::Unusable, "\"http_status\":403"),
        (67..=67, Verdict::Elsewhere, "\"http_status\":502"),
        (68..=71, Verdict::OurFault, "-3200"),
        (72..=72, Verdict::Elsewhere, "End Of File"),
        (73..=73, Verdict::OurFault, "Invalid params"),
        (74..=74, Verdict::Elsewhere, "Server error"),
        (75..=75, Verdict::Elsewhere, "Unable to acquire database lock"),
        (76..=76, Verdict::OurFault, "must have at least one operation"),
        (77..=77, Verdict::Elsewhere, "11 eof_exception"),
        (78..=78, Verdict::Unsupported, "no method with name"),
        (79..=79, Verdict::Unusable, "\"http_status\":400"),
        (80..=80, Verdict::OurFault, "too few arguments"),
        (81..=81, Verdict::OurFault, "Bad Cast"),
        (82..=82, Verdict::OurFault, "Day of month value is out of range"),
        (83..=83, Verdict::Elsewhere, "unhealthy upstream"),
        (84..=84, Verdict::Elsewhere, "\"http_status\":502"),
        (85..=85, Verdict::Unusable, "\"http_status\":404"),
        (86..=86, Verdict::OurFault, "The comment is archived"),
        (87..=87, Verdict::Elsewhere, "\"http_status\":502"),
        (88..=90, Verdict::OurFault, "Bad Cast"),
        (91..=91, Verdict::OurFault, "base58str"),
        (92..=92, Verdict::Unusable, "\"http_status\":301"),
        (93..=95, Verdict::OurFault, "-32000"),
        (96..=96, Verdict::OurFault, "7 bad_cast_exception"),
        (97..=97, Verdict::OurFault, "Invalid Request"),
        (98..=98, Verdict::Elsewhere, "\"http_status\":504"),
        (99..=99, Verdict::Elsewhere, "<%=author%>"),
        (100..=100, Verdict::Unusable, "\"http_status\":403"),
        (101..=102, Verdict::OurFault, "uthority"),
        (103..=103, Verdict::OurFault, "7 bad_cast_exception"),
        (104..=104, Verdict::OurFault, "signature is not canonical"),
    ];

    #[derive(Deserialize)]
    struct Recorded {
        http_status: u16,
        body: Option<String>,
        jsonrpc_error: Option<Box<RawValue>>,
    }

    #[test]
    fn every_recorded_failure_is_judged() {
        let Some(lines) = recordings::lines("hive-rpc-errors.ndjson") else { return };
        let mut judged = 0;
        for (index, line) in lines.enumerate() {
            let (_, verdict, fragment) = RECORDED.iter().find(|(lines, ..)| lines.contains(&index)).unwrap();
            assert!(line.contains(fragment), "line {index} isn't the one with {fragment:?}: {line:.300}");
            let recorded: Recorded = serde_json::from_str(&line).unwrap();
            let body = recorded.body.unwrap_or_else(|| {
                format!(r#"{{"jsonrpc":"2.0","error":{},"id":1}}"#, recorded.jsonrpc_error.unwrap().get())
            });
            let failure = result_of(recorded.http_status, None, &body).unwrap_err();
            assert_eq!(failure.verdict(), *verdict, "line {index}: {failure}");
            judged += 1;
        }
        assert_eq!(judged, 105);
    }

    #[test]
    fn an_answer_is_a_result_even_if_it_is_null_and_an_error_whatever_its_status() {
        assert_eq!(result_of(200, None, r#"{"id":1,"result":null}"#).unwrap().get(), "null");
        assert_eq!(result_of(200, None, r#"{"error":null,"result":{"a": 1}}"#).unwrap().get(), r#"{"a": 1}"#);
        let error = r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal Error"},"id":1}"#;
        for status in [200, 500, 503] {
            let failure = result_of(status, None, error).unwrap_err();
            assert!(matches!(failure, Failure::Rpc { code: -32603, .. }), "{status}: {failure}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let cut = result_of(200, None, r#"{"jsonrpc":"2.0","result":{"block":{"prev"#).unwrap_err();
        assert!(matches!(cut, Failure::NotJson { .. }), "{cut}");
        assert_eq!(cut.verdict(), Verdict::Elsewhere);
        let empty = result_of(200, None, "{}").unwrap_err();
        assert!(matches!(empty, Failure::Malformed { .. }), "{empty}");
        let wait = Some(Duration::from_secs(7));
        let limited = result_of(429, wait, "<html>429</html>").unwrap_err();
        assert_eq!((limited.verdict(), limited.retry_after()), (Verdict::Elsewhere, wait));
        let strange = result_of(200, None, r#"{"error":"no"}"#).unwrap_err();
        assert_eq!(strange.verdict(), Verdict::Elsewhere, "{strange}");
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("<html>\r\n  <b>\u{1b}[31m502</b>"), "<html> <b>[31m502</b>");
        assert_eq!(excerpt(&"é".repeat(1000)).chars().count(), EXCERPT_CHARS_MAX);
    }
}
