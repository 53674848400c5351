//! Virtual operations: what the chain itself did in a block, out of `get_ops_in_block`.

use contracts::hive::{AppliedOperation, Operation};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::block::Block;

/// One entry of the answer, in either API's form.
#[derive(Deserialize)]
struct Item {
    block: u32,
    trx_id: String,
    /// Absent or -1 on some nodes for what isn't in a transaction.
    trx_in_block: Option<i64>,
    op_in_trx: i64,
    timestamp: String,
    op: Box<RawValue>,
}

/// The virtual operations of `block`, in the answer's order.
///
/// The answer holds the block's own operations too, and that is what shows that it is about this very block:
/// a node whose history trails its blocks, or that is on another fork, would give fewer or others. What
/// isn't an operation of the block is virtual; the answer's own `virtual_op` is a boolean on some nodes and a
/// number, often wrongly 0, on others.
pub(crate) fn read_virtual(result: &str, block: &Block) -> Result<Vec<AppliedOperation>, String> {
    let items = items(result)?;
    let mut virtual_operations = Vec::new();
    let mut own = 0;
    for item in items {
        if item.block != block.number {
            return Err(format!(
                "asked for the operations of block {}, got one of {}",
                block.number, item.block
            ));
        }
        let operation = applied(item)?;
        if is_own(&operation, block) {
            own += 1;
        } else {
            virtual_operations.push(operation);
        }
    }
    let expected = block.transactions.iter().map(|transaction| transaction.operations.len()).sum::<usize>();
    if own != expected {
        return Err(format!("{own} of the {expected} operations of block {}", block.number));
    }
    Ok(virtual_operations)
}

/// Whether an answer, about whatever block, has an operation of the chain itself: the producer's reward, mostly.
pub(crate) fn has_virtual(result: &str) -> bool {
    items(result).is_ok_and(|items| items.iter().any(|item| item.trx_id.bytes().all(|byte| byte == b'0')))
}

/// The numbers of the blocks that an answer has operations of, one for each operation.
pub(crate) fn blocks_of(result: &str) -> Result<Vec<u32>, String> {
    Ok(items(result)?.into_iter().map(|item| item.block).collect())
}

fn items(result: &str) -> Result<Vec<Item>, String> {
    #[derive(Deserialize)]
    struct Wrapped {
        ops: Vec<Item>,
    }
    let items = if result.starts_with('[') {
        serde_json::from_str(result)
    } else {
        serde_json::from_str(result).map(|Wrapped { ops }| ops)
    };
    items.map_err(|error| error.to_string())
}

fn applied(item: Item) -> Result<AppliedOperation, String> {
    let trx_in_block = item.trx_in_block.map_or(u32::MAX, |index| u32::try_from(index).unwrap_or(u32::MAX));
    let op_in_trx =
        u32::try_from(item.op_in_trx).map_err(|error| format!("op_in_trx {}: {error}", item.op_in_trx))?;
    Ok(AppliedOperation {
        block: item.block,
        trx_id: item.trx_id,
        trx_in_block,
        op_in_trx,
        virtual_op: true,
        timestamp: item.timestamp,
        op: Operation::read(item.op),
    })
}

fn is_own(operation: &AppliedOperation, block: &Block) -> bool {
    let index = |number: u32| usize::try_from(number).ok();
    let transaction = index(operation.trx_in_block).and_then(|at| block.transactions.get(at));
    transaction.is_some_and(|transaction| {
        let own = index(operation.op_in_trx).and_then(|at| transaction.operations.get(at));
        let same_id = transaction.id.is_empty() || transaction.id.eq_ignore_ascii_case(&operation.trx_id);
        same_id && own.is_some_and(|own| own.kind == operation.op.kind)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::block::Transaction;
    use crate::recordings;

    fn block(number: u32, transactions: &[(&str, &[&str])]) -> Block {
        let operation = |kind: &&str| Operation {
            kind: format!("{kind}_operation"),
            value: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        let transactions = transactions.iter().map(|(id, kinds)| Transaction {
            id: (*id).to_owned(),
            operations: kinds.iter().map(operation).collect(),
        });
        Block {
            number,
            id: None,
            previous: None,
            timestamp: String::new(),
            transactions: transactions.collect(),
        }
    }

    fn item(trx_id: &str, trx_in_block: i64, op_in_trx: i64, kind: &str) -> Value {
        json!({"block": 7, "trx_id": trx_id, "trx_in_block": trx_in_block, "op_in_trx": op_in_trx, "virtual_op": 0,
            "timestamp": "2016-03-24T16:05:00", "op": [kind, {}]})
    }

    #[test]
    fn what_is_not_the_blocks_own_is_virtual() {
        let zeros = "0".repeat(40);
        let answer = json!([
            item("aa", 0, 0, "vote"),
            item("aa", 0, 1, "effective_comment_vote"),
            item("bb", 1, 0, "limit_order_create"),
            item("bb", 1, 0, "fill_order"),
            item(&zeros, -1, 0, "producer_reward"),
        ]);
        let block = block(7, &[("aa", &["vote"]), ("bb", &["limit_order_create"])]);
        for result in [answer.to_string(), json!({ "ops": answer }).to_string()] {
            let operations = read_virtual(&result, &block).unwrap();
            let kinds: Vec<_> =
                operations.iter().map(|operation| operation.op.topic().into_owned()).collect();
            assert_eq!(kinds, ["effective_comment_vote", "fill_order", "producer_reward"]);
            assert_eq!(operations[2].trx_in_block, u32::MAX);
            assert!(operations.iter().all(|operation| operation.virtual_op));
        }
    }

    #[test]
    fn an_answer_about_another_block_is_refused() {
        let ours = block(7, &[("aa", &["vote"])]);
        for (answer, reason) in [
            (json!([]), "0 of the 1"),
            (json!([item("bb", 0, 0, "vote")]), "0 of the 1"),
            (json!([item("aa", 0, 0, "comment")]), "0 of the 1"),
            (json!([item("aa", 0, 0, "vote"), item("aa", 0, 0, "vote")]), "2 of the 1"),
            (json!([item("aa", 0, -3, "vote")]), "op_in_trx -3"),
            (json!({}), "ops"),
        ] {
            let error = read_virtual(&answer.to_string(), &ours).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let error = read_virtual(&json!([item("aa", 0, 0, "vote")]).to_string(), &block(8, &[])).unwrap_err();
        assert!(error.contains("got one of 7"), "{error}");
    }

    #[test]
    fn every_recorded_answer_is_read() {
        let Some(lines) = recordings::lines("hive-ops-in-block.ndjson") else { return };
        for line in lines {
            let recorded: Value = serde_json::from_str(&line).unwrap();
            let items = items(&recorded["result"].to_string()).unwrap();
            let plain = recorded["result"]["ops"].as_array().or(recorded["result"].as_array()).unwrap();
            assert_eq!(items.len(), plain.len());
            for (item, plain) in items.into_iter().zip(plain) {
                let operation = applied(item).unwrap();
                let value = plain["op"].get("value").or(plain["op"].get(1)).unwrap();
                assert_eq!(serde_json::from_str::<Value>(operation.op.value.get()).unwrap(), *value);
                assert_ne!(operation.op.topic(), "unknown");
            }
        }
    }
}
