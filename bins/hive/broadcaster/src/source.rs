//! What can be asked of one node, in whichever form it answers.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::block::{self, Block};
use crate::failure::{Failure, Verdict};
use crate::rpc::{Answer, Rpc};
use crate::settings::Mode;

/// How long a form that a node doesn't have isn't tried there again.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// A range of blocks may take this many times as long as another request.
const RANGE_TIMEOUTS: u32 = 4;

/// The methods that we use: every kind of question in its newer and its older form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Properties,
    PropertiesOld,
    Block,
    BlockOld,
    Range,
    Operations,
    OperationsOld,
    VirtualRange,
}

impl Form {
    const COUNT: usize = 8;

    fn method(self) -> &'static str {
        match self {
            Form::Properties => "database_api.get_dynamic_global_properties",
            Form::PropertiesOld => "condenser_api.get_dynamic_global_properties",
            Form::Block => "block_api.get_block",
            Form::BlockOld => "condenser_api.get_block",
            Form::Range => "block_api.get_block_range",
            Form::Operations => "account_history_api.get_ops_in_block",
            Form::OperationsOld => "condenser_api.get_ops_in_block",
            Form::VirtualRange => "account_history_api.enum_virtual_ops",
        }
    }
}

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) irreversible: u32,
    /// The head block's; none where it can't be read.
    pub(crate) time: Option<Timestamp>,
}

impl Head {
    /// The last block that is taken in this mode.
    pub(crate) fn target(&self, mode: Mode) -> u32 {
        match mode {
            Mode::Irreversible => self.irreversible,
            Mode::Head => self.number,
        }
    }
}

/// A node as something to ask. Knows which forms it has refused.
#[derive(Clone)]
pub(crate) struct Source {
    name: String,
    rpc: Rpc,
    timeout: Duration,
    refused_until: [Option<Instant>; Form::COUNT],
}

impl Source {
    pub(crate) fn new(url: &Url, rpc: Rpc, timeout: Duration) -> Self {
        // Without a password or a key in the path: this name goes into logs.
        let host = url.host_str().unwrap_or_default();
        let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Source { name, rpc, timeout, refused_until: [None; Form::COUNT] }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How far the node is.
    pub(crate) async fn head(&mut self) -> Result<Head, Failure> {
        let answer = match self.ask(Form::Properties, json!({}), self.timeout).await? {
            Some(answer) => answer,
            None => self.ask_last(Form::PropertiesOld, json!([]), self.timeout).await?,
        };
        read_head(answer.result())
    }

    /// One block; none if the node doesn't have it (yet).
    pub(crate) async fn block(&mut self, number: u32) -> Result<Option<Block>, Failure> {
        let answer = match self.ask(Form::Block, json!({ "block_num": number }), self.timeout).await? {
            Some(answer) => answer,
            None => self.ask_last(Form::BlockOld, [number], self.timeout).await?,
        };
        match block::read_one(answer.result()).map_err(Failure::malformed)? {
            Some(block) if block.number != number => {
                Err(Failure::malformed(format_args!("asked for block {number}, got {}", block.number)))
            }
            block => Ok(block),
        }
    }

    /// The blocks from `first` on, ascending, at most `count`, perhaps fewer; none if the node can't answer
    /// such questions.
    pub(crate) async fn range(&mut self, first: u32, count: u32) -> Result<Option<Vec<Block>>, Failure> {
        let params = json!({ "starting_block_num": first, "count": count });
        let Some(answer) = self.ask(Form::Range, params, self.timeout * RANGE_TIMEOUTS).await? else {
            return Ok(None);
        };
        let blocks = block::read_range(answer.result()).map_err(Failure::malformed)?;
        let asked = first..first.saturating_add(count);
        match blocks.iter().find(|block| !asked.contains(&block.number)) {
            Some(block) => Err(Failure::malformed(format_args!(
                "asked for {count} blocks from {first}, got {}",
                block.number
            ))),
            None => Ok(Some(blocks)),
        }
    }

    /// Everything that was done in a block, virtual operations included: the text of the answer, in either form.
    pub(crate) async fn operations(&mut self, number: u32, mode: Mode) -> Result<Answer, Failure> {
        let reversible = mode == Mode::Head;
        let params = json!({ "block_num": number, "only_virtual": false, "include_reversible": reversible });
        match self.ask(Form::Operations, params, self.timeout).await? {
            Some(answer) => Ok(answer),
            None => self.ask_last(Form::OperationsOld, json!([number, false]), self.timeout).await,
        }
    }

    /// The virtual operations of several blocks, in order and perhaps only the first of them: the text of the answer;
    /// none if the node can't answer such questions.
    pub(crate) async fn virtual_operations(
        &mut self,
        blocks: Range<u32>,
        mode: Mode,
    ) -> Result<Option<Answer>, Failure> {
        let reversible = mode == Mode::Head;
        let params = json!({
            "block_range_begin": blocks.start, "block_range_end": blocks.end, "include_reversible": reversible,
        });
        self.ask(Form::VirtualRange, params, self.timeout).await
    }

    /// Asks in one form; none if the node doesn't know it.
    async fn ask(
        &mut self,
        form: Form,
        params: impl Serialize,
        timeout: Duration,
    ) -> Result<Option<Answer>, Failure> {
        let refused_until = self.refused_until[form as usize];
        if refused_until.is_some_and(|until| Instant::now() < until) {
            return Ok(None);
        }
        match self.rpc.call(form.method(), params, timeout).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) => match failure.verdict() {
                Verdict::Elsewhere | Verdict::Unusable => Err(failure),
                Verdict::Unsupported => {
                    tracing::info!(node = self.name, method = form.method(), %failure, "the node lacks a method");
                    self.refuse(form);
                    Ok(None)
                }
                // What we ask is always well formed, so it is the node that reads it in its own way.
                Verdict::OurFault => {
                    tracing::error!(node = self.name, method = form.method(), %failure, "the node refuses our request");
                    self.refuse(form);
                    Ok(None)
                }
            },
        }
    }

    /// Asks in the last form there is.
    async fn ask_last(
        &mut self,
        form: Form,
        params: impl Serialize,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let answer = self.ask(form, params, timeout).await?;
        answer.ok_or_else(|| {
            // Perhaps it is only in a bad state: whenever it is asked again, it is asked anew.
            self.refused_until = [None; Form::COUNT];
            Failure::NoWay { method: form.method() }
        })
    }

    fn refuse(&mut self, form: Form) {
        self.refused_until[form as usize] = Some(Instant::now() + REFUSED_FOR);
    }
}

fn read_head(result: &str) -> Result<Head, Failure> {
    #[derive(Deserialize)]
    struct Properties {
        head_block_number: u32,
        head_block_id: String,
        last_irreversible_block_num: u32,
        time: String,
    }
    let properties: Properties = serde_json::from_str(result).map_err(Failure::malformed)?;
    if properties.last_irreversible_block_num > properties.head_block_number {
        return Err(Failure::malformed("the last irreversible block comes after the head"));
    }
    let time = properties.time.trim_end_matches('Z').parse::<DateTime>();
    Ok(Head {
        number: properties.head_block_number,
        id: properties.head_block_id.to_ascii_lowercase(),
        irreversible: properties.last_irreversible_block_num,
        time: time.ok().and_then(|time| Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::recordings;

    #[test]
    fn every_recorded_head_is_read() {
        let Some(lines) = recordings::lines("hive-dgp.ndjson") else { return };
        let mut count = 0;
        for line in lines {
            let recorded: Value = serde_json::from_str(&line).unwrap();
            let head = read_head(&recorded["result"].to_string()).unwrap();
            assert_eq!(Some(u64::from(head.number)), recorded["result"]["head_block_number"].as_u64());
            let time = head.time.unwrap().to_string();
            assert_eq!(time.trim_end_matches('Z'), recorded["result"]["time"].as_str().unwrap());
            assert!(head.irreversible <= head.number);
            count += 1;
        }
        assert_eq!(count, 376);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bad in [
            "{}",
            "null",
            r#"{"head_block_number":5,"head_block_id":"","last_irreversible_block_num":6,"time":""}"#,
            r#"{"head_block_number":-1,"head_block_id":"","last_irreversible_block_num":0,"time":""}"#,
        ] {
            assert!(matches!(read_head(bad), Err(Failure::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn the_mode_decides_how_far_we_go() {
        let head = Head { number: 9, id: String::new(), irreversible: 7, time: None };
        assert_eq!((head.target(Mode::Head), head.target(Mode::Irreversible)), (9, 7));
    }
}
