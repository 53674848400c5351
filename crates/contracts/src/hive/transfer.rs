//! The transfer watch's alarm.

use std::borrow::Cow;

use procession::Event;
use serde::{Deserialize, Serialize};

use super::view::Transfer;

/// A transfer above the threshold of its asset. Topic `large-transfer`, key = the sender.
///
/// `{"from":"ann","to":"bob","amount":"25000.000","asset":"HIVE","block":…,"trx_id":"…","op_in_trx":0,
/// "timestamp":"…"}`. The memo is left out: it is in the record that this one names as its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeTransfer {
    /// Who pays.
    pub from: String,
    /// Who is paid.
    pub to: String,
    /// How much, as a decimal number.
    pub amount: String,
    /// Of what, by today's symbol: `HIVE`, `HBD`.
    pub asset: String,
    /// The block that it came in.
    pub block: u32,
    /// The transaction that it came in.
    pub trx_id: String,
    /// The transfer's index in its transaction.
    pub op_in_trx: u32,
    /// The block's time, UTC, as the chain writes it.
    pub timestamp: String,
}

impl From<&Transfer> for LargeTransfer {
    fn from(transfer: &Transfer) -> Self {
        let value = transfer.value();
        LargeTransfer {
            from: value.from.clone(),
            to: value.to.clone(),
            amount: value.amount.decimal(),
            asset: value.amount.asset.symbol().to_owned(),
            block: transfer.block,
            trx_id: transfer.trx_id.clone(),
            op_in_trx: transfer.op_in_trx,
            timestamp: transfer.timestamp.clone(),
        }
    }
}

impl Event for LargeTransfer {
    const TOPIC: &'static str = "large-transfer";

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.from.as_bytes()))
    }
}
