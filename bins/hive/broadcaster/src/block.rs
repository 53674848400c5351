//! Reading blocks tolerantly: every form that nodes have answered in, and nothing that isn't a whole block.

use contracts::hive::Operation;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::failure::present;

/// The chain allows blocks of 2 MB; a journal's record holds 16 MiB.
const OPERATION_BYTES_MAX: usize = 8 << 20;

/// A block as we use it. Ids are lower-case hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) number: u32,
    /// None where the node doesn't tell it (very old ones don't).
    pub(crate) id: Option<String>,
    /// The id of the block before; none only in incomplete recordings.
    pub(crate) previous: Option<String>,
    /// UTC, as the chain writes it.
    pub(crate) timestamp: String,
    pub(crate) transactions: Vec<Transaction>,
}

/// A transaction's operations, in order.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    /// Empty where the node told no ids: a made-up one could be taken for real.
    pub(crate) id: String,
    pub(crate) operations: Vec<Operation>,
}

/// What a node said about one block.
#[derive(Deserialize)]
struct Served {
    block_num: Option<u32>,
    block_id: Option<String>,
    previous: Option<String>,
    timestamp: String,
    transaction_merkle_root: Option<String>,
    transaction_ids: Option<Vec<String>>,
    transactions: Vec<ServedTransaction>,
}

#[derive(Deserialize)]
struct ServedTransaction {
    transaction_id: Option<String>,
    operations: Vec<Box<RawValue>>,
}

/// Reads the result of `block_api.get_block` or `condenser_api.get_block`; none if there is no such block (yet).
pub(crate) fn read_one(result: &str) -> Result<Option<Block>, String> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        block: Option<&'a RawValue>,
    }
    let is_none = |text: &str| matches!(text, "null" | "{}");
    if is_none(result) {
        return Ok(None);
    }
    let wrapped: Wrapped<'_> = serde_json::from_str(result).map_err(|error| error.to_string())?;
    let block = wrapped.block.map_or(result, RawValue::get);
    if is_none(block) { Ok(None) } else { read(block).map(Some) }
}

/// Reads the result of `block_api.get_block_range`: ascending blocks, possibly fewer than asked for.
pub(crate) fn read_range(result: &str) -> Result<Vec<Block>, String> {
    #[derive(Deserialize)]
    struct Range<'a> {
        #[serde(borrow)]
        blocks: Vec<&'a RawValue>,
    }
    let range: Range<'_> = serde_json::from_str(result).map_err(|error| error.to_string())?;
    let blocks = range.blocks.into_iter().map(|block| read(block.get())).collect::<Result<Vec<_>, _>>()?;
    match blocks.windows(2).find(|pair| pair[0].number >= pair[1].number) {
        Some(pair) => Err(format!("block {} comes before block {}", pair[0].number, pair[1].number)),
        None => Ok(blocks),
    }
}

fn read(block: &str) -> Result<Block, String> {
    let mut served: Served = serde_json::from_str(block).map_err(|error| error.to_string())?;
    lower(&mut served.block_id)?;
    lower(&mut served.previous)?;
    let number = number_of(&served)?;
    check_whole(&served, number)?;
    let ids = served.transaction_ids.unwrap_or_default();
    let mut ids = ids.into_iter();
    let transactions = served.transactions.into_iter().map(|transaction| Transaction {
        id: ids.next().or(transaction.transaction_id).unwrap_or_default(),
        operations: transaction.operations.into_iter().map(read_operation).collect(),
    });
    Ok(Block {
        number,
        id: served.block_id,
        previous: served.previous,
        timestamp: served.timestamp,
        transactions: transactions.collect(),
    })
}

/// One that is too large for a record is told by its type and size: all nodes have the same one, so that waiting for
/// another would be for ever.
fn read_operation(served: Box<RawValue>) -> Operation {
    let bytes = served.get().len();
    let operation = Operation::read(served);
    if bytes <= OPERATION_BYTES_MAX {
        return operation;
    }
    tracing::warn!(
        bytes,
        kind = operation.kind,
        "an operation is too large for a record, and left out of it"
    );
    let value = serde_json::value::to_raw_value(&json!({ "type": operation.kind, "bytes": bytes }));
    Operation { kind: "oversized_operation".to_owned(), value: value.expect("plain data becomes JSON") }
}

/// Checks that an id is 40 hexadecimal digits, and lowers them.
fn lower(id: &mut Option<String>) -> Result<(), String> {
    match id {
        Some(text) if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(format!("{text:.64?} is no block id"))
        }
        Some(text) => {
            text.make_ascii_lowercase();
            Ok(())
        }
        None => Ok(()),
    }
}

/// A block doesn't hold its number: it is the beginning of its id, and of the previous one's plus 1.
fn number_of(served: &Served) -> Result<u32, String> {
    let in_id = |id: &String| u32::from_str_radix(&id[..8], 16).ok();
    let told = [
        served.block_id.as_ref().and_then(in_id),
        served.previous.as_ref().and_then(in_id).and_then(|number| number.checked_add(1)),
        served.block_num,
    ];
    let mut numbers = told.into_iter().flatten();
    let number = numbers.next().ok_or("a block without any number")?;
    match numbers.find(|&other| other != number) {
        Some(other) => Err(format!("a block that calls itself both {number} and {other}")),
        None => Ok(number),
    }
}

/// A cut block can still be valid JSON.
fn check_whole(served: &Served, number: u32) -> Result<(), String> {
    let count = served.transactions.len();
    let root = served.transaction_merkle_root.as_deref().unwrap_or_default();
    if count == 0 && root.bytes().any(|byte| byte != b'0') {
        return Err(format!("block {number} came without its transactions"));
    }
    match served.transaction_ids.as_ref().map(Vec::len) {
        // Some old nodes have the field but leave it empty.
        Some(ids) if ids != count && ids != 0 => {
            Err(format!("block {number} came with {count} transactions but {ids} ids"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::recordings;

    fn one(value: &Value) -> Result<Option<Block>, String> {
        read_one(&value.to_string())
    }

    fn id(number: u32) -> String {
        format!("{number:08x}{:032x}", 0xabc)
    }

    fn sample() -> Value {
        json!({
            "block_id": id(7), "previous": id(6), "timestamp": "2016-03-24T16:05:00",
            "transaction_merkle_root": "ab".repeat(20), "transaction_ids": ["01".repeat(20), "02".repeat(20)],
            "transactions": [
                {"operations": [["vote", {"voter": "ann"}], {"type": "vote_operation", "value": {}}]},
                {"operations": [], "transaction_id": "ff".repeat(20)},
            ],
        })
    }

    #[test]
    fn a_block_is_read_with_and_without_its_wrapper() {
        for served in [sample(), json!({"block": sample()})] {
            let block = one(&served).unwrap().unwrap();
            assert_eq!((block.number, block.id, block.previous), (7, Some(id(7)), Some(id(6))));
            assert_eq!(block.transactions.len(), 2);
            assert_eq!(block.transactions[0].id, "01".repeat(20));
            assert_eq!(block.transactions[0].operations[1].kind, "vote_operation");
        }
    }

    #[test]
    fn an_absent_block_is_none_in_every_form() {
        for absent in [json!(null), json!({}), json!({"block": null}), json!({"block": {}})] {
            assert!(one(&absent).unwrap().is_none(), "{absent}");
        }
        assert!(read_range(r#"{"blocks":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn an_operation_too_large_for_a_record_holds_up_nothing() {
        let mut served = sample();
        served["transactions"][1]["operations"] =
            json!([["custom_json", {"json": "z".repeat(OPERATION_BYTES_MAX)}]]);
        let block = one(&served).unwrap().unwrap();
        let operation = &block.transactions[1].operations[0];
        assert_eq!((operation.kind.as_str(), &*operation.topic()), ("oversized_operation", "oversized"));
        let value: Value = serde_json::from_str(operation.value.get()).unwrap();
        assert_eq!(value, json!({"type": "custom_json_operation", "bytes": OPERATION_BYTES_MAX + 27}));
        assert_eq!(block.transactions[0].operations[0].kind, "vote_operation");
    }

    #[test]
    fn ids_come_from_the_list_or_the_transaction_or_not_at_all() {
        let mut served = sample();
        served["transaction_ids"] = json!([]);
        let block = one(&served).unwrap().unwrap();
        assert_eq!(block.transactions[0].id, "");
        assert_eq!(block.transactions[1].id, "ff".repeat(20));
        served.as_object_mut().unwrap().remove("block_id");
        let block = one(&served).unwrap().unwrap();
        assert_eq!((block.number, block.id), (7, None));
    }

    #[track_caller]
    fn check_refused(field: &str, value: Value, reason: &str) {
        let mut served = sample();
        served[field] = value;
        let error = one(&served).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn what_is_no_whole_block_is_refused() {
        check_refused("transactions", json!([]), "without its transactions");
        check_refused("transaction_ids", json!(["01".repeat(20)]), "2 transactions but 1 ids");
        check_refused("block_id", json!(id(8)), "both 8 and 7");
        check_refused("block_num", json!(9), "both 7 and 9");
        check_refused("block_id", json!("zz"), "no block id");
        check_refused("previous", json!("é".repeat(20)), "no block id");
        check_refused("timestamp", json!(5), "expected a string");
        assert!(read_range(&json!({"blocks": [sample(), sample()]}).to_string()).is_err());
        assert!(read_range(r#"{"blocks":[{}]}"#).is_err());
        assert!(read_range("{}").is_err());
    }

    /// Blocks, transactions and operations of a recording, as we read it.
    fn count(name: &str) -> Option<(usize, usize, usize)> {
        let mut counts = (0, 0, 0);
        for line in recordings::lines(name)? {
            let plain: Value = serde_json::from_str(&line).unwrap();
            let block = read_one(&line).unwrap().unwrap();
            assert_eq!(Some(u64::from(block.number)), plain["block_num"].as_u64());
            counts.0 += 1;
            for (index, transaction) in block.transactions.iter().enumerate() {
                counts.1 += 1;
                let told = plain["transaction_ids"][index].as_str().unwrap_or_default();
                assert_eq!(transaction.id, told, "block {}", block.number);
                for (place, operation) in transaction.operations.iter().enumerate() {
                    counts.2 += 1;
                    let recorded = &plain["transactions"][index]["operations"][place];
                    let value = if recorded.is_array() { &recorded[1] } else { &recorded["value"] };
                    assert_eq!(serde_json::from_str::<Value>(operation.value.get()).unwrap(), *value);
                }
            }
        }
        Some(counts)
    }

    #[test]
    fn every_recorded_block_is_read_whole() {
        if let Some(counts) = count("hive-blocks.ndjson.gz") {
            assert_eq!(counts, (1954, 2145, 2196));
        }
        if let Some(counts) = count("hive-blocks-condenser.ndjson") {
            assert_eq!(counts, (68, 1975, 2015));
        }
        if let Some(counts) = count("hive-blocks-partial.ndjson") {
            assert_eq!(counts, (3260, 4223, 4703));
        }
    }
}
