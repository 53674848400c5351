//! The notation of a fault.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One fault as it is written on the command line and in a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) probability: f64,
    pub(crate) times: Option<u32>,
    pub(crate) method: Option<String>,
    pub(crate) after: Duration,
    pub(crate) duration: Option<Duration>,
    /// HTTP status of a JSON-RPC error.
    pub(crate) status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Down,
    Drop,
    Hang,
    Slow(Duration),
    Http(u16),
    Text,
    Truncated,
    Cut,
    Rpc(RpcCode),
    /// At the current head, or at a block number.
    Stall(Option<u32>),
    Behind(u32),
    Lag(u32),
    Fork(u32),
    WrongChain,
    TruncatedBlock,
    NoRange,
}

/// A JSON-RPC error: by its code, but for the one of -32003's that has a text of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RpcCode {
    Lock,
    Code(i64),
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidFault(String);

impl std::error::Error for InvalidFault {}

impl fmt::Display for InvalidFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidFault> {
    Err(InvalidFault(why.into()))
}

impl Fault {
    fn new(kind: Kind) -> Self {
        let duration = None;
        Self {
            kind,
            probability: 1.0,
            times: None,
            method: None,
            after: Duration::ZERO,
            duration,
            status: None,
        }
    }

    /// True where the fault, when it is on, concerns requests of this method.
    pub(crate) fn concerns(&self, method: &str) -> bool {
        let kind_does = match self.kind {
            Kind::NoRange => method == "block_api.get_block_range",
            Kind::TruncatedBlock | Kind::Lag(_) => {
                method.contains(".get_block") || method.ends_with("get_ops_in_block")
            }
            _ => true,
        };
        let filter = self.method.as_deref();
        kind_does && filter.is_none_or(|wanted| method == wanted || method.rsplit('.').next() == Some(wanted))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), InvalidFault> {
        match key {
            "p" => self.probability = probability(value)?,
            "times" => self.times = Some(count(value)?),
            "method" => self.method = Some(value.to_owned()),
            "after" => self.after = time(value)?,
            "for" => self.duration = Some(time(value)?),
            "status" if matches!(self.kind, Kind::Rpc(_)) => self.status = Some(status(value)?),
            _ => {
                return invalid(format!(
                    "{key}=: the options are p, times, method, after, for (and status for rpc-*)"
                ));
            }
        }
        let narrows_requests = ["p", "times", "method"].contains(&key);
        if narrows_requests && matches!(self.kind, Kind::Down | Kind::Stall(_) | Kind::Fork(_)) {
            return invalid(format!(
                "{key}=: down, stall and fork are states of the node, which take only after and for"
            ));
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let explain = |InvalidFault(why)| InvalidFault(format!("fault {text:?}: {why}"));
        parse(text).map_err(explain)
    }
}

fn parse(text: &str) -> Result<Fault, InvalidFault> {
    let mut parts = text.split(':').peekable();
    let name = parts.next().unwrap_or_default();
    let argument = parts.next_if(|part| !part.contains('='));
    let (kind, takes_argument) = kind(name, argument)?;
    let mut fault = Fault::new(kind);
    match argument {
        Some(bare) if !takes_argument => fault.set("p", bare)?,
        _ => {}
    }
    for part in parts {
        match part.split_once('=') {
            Some((key, value)) => fault.set(key, value)?,
            None => {
                return invalid(format!("{part:?} is not an option; write it as p={part} or times={part}"));
            }
        }
    }
    Ok(fault)
}

/// The kind, and whether the argument was its own.
fn kind(name: &str, argument: Option<&str>) -> Result<(Kind, bool), InvalidFault> {
    let needed = || argument.ok_or_else(|| InvalidFault(format!("it needs an argument, as in {name}:3")));
    let own = |kind| Ok((kind, true));
    let bare = |kind| Ok((kind, false));
    match name {
        "down" => bare(Kind::Down),
        "drop" => bare(Kind::Drop),
        "hang" => bare(Kind::Hang),
        "text" => bare(Kind::Text),
        "truncated" => bare(Kind::Truncated),
        "cut" => bare(Kind::Cut),
        "wrong-chain" => bare(Kind::WrongChain),
        "truncated-block" => bare(Kind::TruncatedBlock),
        "no-range" => bare(Kind::NoRange),
        "rpc-lock" => bare(Kind::Rpc(RpcCode::Lock)),
        "slow" => own(Kind::Slow(time(argument.unwrap_or("1s"))?)),
        "stall" => own(Kind::Stall(argument.map(count).transpose()?)),
        "behind" => own(Kind::Behind(count(needed()?)?)),
        "lag" => own(Kind::Lag(count(needed()?)?)),
        "fork" => own(Kind::Fork(count(needed()?)?)),
        _ => {
            if let Some(code) = name.strip_prefix("http-") {
                return bare(Kind::Http(status(code)?));
            }
            if let Some(code) = name.strip_prefix("rpc-") {
                return bare(Kind::Rpc(RpcCode::Code(rpc_code(code)?)));
            }
            invalid(
                "there is no such kind; there are down, drop, hang, slow, http-STATUS, text, truncated, cut, rpc-lock, \
                 rpc-CODE, stall, behind, lag, fork, wrong-chain, truncated-block, no-range",
            )
        }
    }
}

fn probability(text: &str) -> Result<f64, InvalidFault> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => invalid(format!("{text:?} is not a probability from 0 to 1")),
    }
}

fn count(text: &str) -> Result<u32, InvalidFault> {
    match text.parse::<u32>() {
        Ok(value) if value > 0 => Ok(value),
        _ => invalid(format!("{text:?} is not a number of at least 1")),
    }
}

fn time(text: &str) -> Result<Duration, InvalidFault> {
    humantime::parse_duration(text)
        .or_else(|_| invalid(format!("{text:?} is not a time such as 200ms or 10s")))
}

fn status(text: &str) -> Result<u16, InvalidFault> {
    match text.parse::<u16>() {
        Ok(value) if (400..600).contains(&value) => Ok(value),
        _ => invalid(format!("{text:?} is not an HTTP status from 400 to 599")),
    }
}

/// The codes of JSON-RPC's own range are negative, and may be written without the sign.
fn rpc_code(text: &str) -> Result<i64, InvalidFault> {
    match text.parse::<i64>() {
        Ok(code) if (32_000..=32_768).contains(&code) => Ok(-code),
        Ok(code) => Ok(code),
        Err(_) => invalid(format!("{text:?} is not an error code such as 32603 or 1000")),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Drop => f.write_str("drop"),
            Self::Hang => f.write_str("hang"),
            Self::Slow(time) => write!(f, "slow:{}", plain(*time)),
            Self::Http(status) => write!(f, "http-{status}"),
            Self::Text => f.write_str("text"),
            Self::Truncated => f.write_str("truncated"),
            Self::Cut => f.write_str("cut"),
            Self::Rpc(RpcCode::Lock) => f.write_str("rpc-lock"),
            Self::Rpc(RpcCode::Code(code)) => {
                write!(f, "rpc-{}", if *code <= -32_000 { -code } else { *code })
            }
            Self::Stall(None) => f.write_str("stall"),
            Self::Stall(Some(block)) => write!(f, "stall:{block}"),
            Self::Behind(blocks) => write!(f, "behind:{blocks}"),
            Self::Lag(blocks) => write!(f, "lag:{blocks}"),
            Self::Fork(blocks) => write!(f, "fork:{blocks}"),
            Self::WrongChain => f.write_str("wrong-chain"),
            Self::TruncatedBlock => f.write_str("truncated-block"),
            Self::NoRange => f.write_str("no-range"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.probability < 1.0 {
            write!(f, ":p={}", self.probability)?;
        }
        if let Some(times) = self.times {
            write!(f, ":times={times}")?;
        }
        if let Some(method) = &self.method {
            write!(f, ":method={method}")?;
        }
        if !self.after.is_zero() {
            write!(f, ":after={}", plain(self.after))?;
        }
        if let Some(duration) = self.duration {
            write!(f, ":for={}", plain(duration))?;
        }
        if let Some(status) = self.status {
            write!(f, ":status={status}")?;
        }
        Ok(())
    }
}

/// A time without blanks, so that a fault stays one word.
fn plain(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

impl TryFrom<String> for Fault {
    type Error = InvalidFault;

    fn try_from(text: String) -> Result<Self, InvalidFault> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Fault>().unwrap_err().to_string()
    }

    #[test]
    fn notation_and_back() {
        for text in [
            "down",
            "down:after=10s:for=5s",
            "drop:p=0.5",
            "hang:times=2",
            "slow:200ms",
            "slow:1m30s:p=0.1",
            "http-502:p=0.2",
            "http-429:method=block_api.get_block",
            "text",
            "truncated",
            "cut:times=1",
            "rpc-lock:status=500",
            "rpc-32603",
            "rpc-1000",
            "stall",
            "stall:50:for=1m",
            "behind:30",
            "lag:2",
            "fork:3:for=2s",
            "wrong-chain",
            "truncated-block",
            "no-range",
        ] {
            assert_eq!(fault(text).to_string(), text);
        }
    }

    #[test]
    fn a_bare_argument_is_the_kinds_own_or_a_probability() {
        assert_eq!(fault("http-502:0.2").probability, 0.2);
        assert_eq!(fault("slow:200ms").kind, Kind::Slow(Duration::from_millis(200)));
        assert_eq!(fault("fork:3:after=1s").kind, Kind::Fork(3));
        assert_eq!(fault("rpc--32003").kind, Kind::Rpc(RpcCode::Code(-32003)));
        assert_eq!(fault("rpc-32003").kind, Kind::Rpc(RpcCode::Code(-32003)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(error("https").starts_with("fault \"https\": there is no such kind; there are down, "));
        assert!(error("http-200").contains("is not an HTTP status"));
        assert!(error("fork").contains("needs an argument"));
        assert!(error("fork:0").contains("at least 1"));
        assert!(error("text:2").contains("not a probability"));
        assert!(error("slow:1s:0.5").contains("write it as p=0.5"));
        assert!(error("slow:fast").contains("not a time"));
        assert!(error("down:p=0.5").contains("states of the node"));
        assert!(error("text:status=500").contains("status for rpc-*"));
        assert!(error("").contains("no such kind"));
    }

    #[test]
    fn methods_are_matched_in_full_or_by_their_last_part() {
        assert!(fault("text").concerns(""));
        assert!(fault("text:method=get_block").concerns("condenser_api.get_block"));
        assert!(!fault("text:method=get_block").concerns("block_api.get_block_range"));
        assert!(!fault("text:method=block_api.get_block").concerns("condenser_api.get_block"));
        assert!(fault("lag:1").concerns("condenser_api.get_block"));
        assert!(!fault("lag:1").concerns("condenser_api.get_dynamic_global_properties"));
        assert!(!fault("no-range").concerns("block_api.get_block"));
    }
}
