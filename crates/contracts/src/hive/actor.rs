//! Which account acts in an operation: the record's key, so that one account's operations keep their order.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The account that acts in an operation of type `name` (without suffix); none where the type has no such
/// account, isn't known, or the field isn't a name.
pub(crate) fn of(name: &str, value: &RawValue) -> Option<String> {
    if name == "pow2" {
        return miner(value);
    }
    fields_of(name).iter().find_map(|field| account_in(&field_in(value, field)?))
}

/// The fields that can hold the acting account of a type, the first that does wins.
fn fields_of(name: &str) -> &'static [&'static str] {
    match name {
        "vote" | "update_proposal_votes" | "delayed_voting" | "effective_comment_vote" => &["voter"],
        "comment"
        | "delete_comment"
        | "comment_options"
        | "author_reward"
        | "comment_reward"
        | "comment_payout_update"
        | "ineffective_delete_comment" => &["author"],
        "transfer"
        | "transfer_to_vesting"
        | "escrow_transfer"
        | "transfer_to_savings"
        | "transfer_from_savings"
        | "cancel_transfer_from_savings"
        | "recurrent_transfer"
        | "fill_transfer_from_savings"
        | "fill_recurrent_transfer"
        | "failed_recurrent_transfer"
        | "escrow_approved"
        | "escrow_rejected" => &["from"],
        "set_withdraw_vesting_route" | "fill_vesting_withdraw" | "transfer_to_vesting_completed" => {
            &["from_account"]
        }
        "limit_order_create"
        | "limit_order_create2"
        | "limit_order_cancel"
        | "convert"
        | "collateralized_convert"
        | "witness_update"
        | "witness_set_properties"
        | "fill_convert_request"
        | "fill_collateralized_convert_request"
        | "liquidity_reward"
        | "interest"
        | "shutdown_witness"
        | "vesting_shares_split"
        | "collateralized_convert_immediate_conversion" => &["owner"],
        "account_create"
        | "account_create_with_delegation"
        | "claim_account"
        | "create_claimed_account"
        | "create_proposal"
        | "update_proposal"
        | "proposal_fee"
        | "account_created" => &["creator"],
        "withdraw_vesting"
        | "account_update"
        | "account_update2"
        | "account_witness_vote"
        | "account_witness_proxy"
        | "decline_voting_rights"
        | "claim_reward_balance"
        | "return_vesting_delegation"
        | "hardfork_hive"
        | "hardfork_hive_restore"
        | "expired_account_notification"
        | "changed_recovery_account"
        | "proxy_cleared"
        | "declined_voting_rights" => &["account"],
        "recover_account" | "change_recovery_account" => &["account_to_recover"],
        "custom_json" => &["required_posting_auths", "required_auths"],
        "custom" => &["required_auths"],
        "custom_binary" => &["required_posting_auths", "required_active_auths", "required_owner_auths"],
        "escrow_dispute" | "escrow_release" | "escrow_approve" => &["who"],
        "feed_publish" => &["publisher"],
        "pow" => &["worker_account"],
        "pow_reward" => &["worker"],
        "witness_block_approve" => &["witness"],
        "request_account_recovery" => &["recovery_account"],
        "reset_account" | "set_reset_account" => &["reset_account"],
        "delegate_vesting_shares" => &["delegator"],
        "remove_proposal" => &["proposal_owner"],
        "curation_reward" => &["curator"],
        "comment_benefactor_reward" => &["benefactor"],
        "fill_order" => &["current_owner"],
        "producer_reward" | "producer_missed" => &["producer"],
        "proposal_pay" => &["receiver"],
        "dhf_funding" | "dhf_conversion" => &["treasury"],
        "limit_order_cancelled" => &["seller"],
        _ => &[],
    }
}

/// The miner of a `pow2`: `work` is a static variant, so it lies in `work.value.input` or `work[1].input`.
fn miner(value: &RawValue) -> Option<String> {
    let work = field_in(value, "work")?;
    let inner = if work.get().starts_with('[') {
        serde_json::from_str::<(IgnoredAny, Box<RawValue>)>(work.get()).ok()?.1
    } else {
        field_in(&work, "value")?
    };
    account_in(&field_in(&field_in(&inner, "input")?, "worker_account")?)
}

/// Names on the chain have at most 16 bytes; what is far longer is no name, and no key.
const ACCOUNT_BYTES_MAX: usize = 256;

/// An account: a string that isn't empty, or the first of a list of them.
fn account_in(field: &RawValue) -> Option<String> {
    let name = if field.get().starts_with('[') {
        serde_json::from_str::<Vec<String>>(field.get()).ok()?.into_iter().next()?
    } else {
        serde_json::from_str::<String>(field.get()).ok()?
    };
    (1..=ACCOUNT_BYTES_MAX).contains(&name.len()).then_some(name)
}

/// One field of an object, found in one pass that builds nothing else.
fn field_in(object: &RawValue, name: &str) -> Option<Box<RawValue>> {
    let mut reader = serde_json::Deserializer::from_str(object.get());
    reader.deserialize_map(Field { name }).ok()?
}

struct Field<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Box<RawValue>>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Key>()? {
            if found.is_none() && key.0 == self.name.as_bytes() {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A key as bytes, since one odd key (half a surrogate pair) must not spoil the search for another.
struct Key(Vec<u8>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::bytes(deserializer).map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, actor: Option<&str>) {
        let value = RawValue::from_string(value.to_owned()).unwrap();
        assert_eq!(of(name, &value).as_deref(), actor, "{name} {value}");
    }

    #[test]
    fn the_actor_is_found_by_type() {
        check("vote", r#"{"author":"bob","voter":"ann","weight":1}"#, Some("ann"));
        check("comment", r#"{"author":"ann","body":"\ud800","\udfff":1}"#, Some("ann"));
        check("custom_json", r#"{"required_auths":["x"],"required_posting_auths":[]}"#, Some("x"));
        check("custom_json", r#"{"required_auths":["x"],"required_posting_auths":["y","z"]}"#, Some("y"));
        check("custom_json", r#"{"required_auths":[],"required_posting_auths":[]}"#, None);
        check("pow2", r#"{"work":{"type":"pow2","value":{"input":{"worker_account":"m"}}}}"#, Some("m"));
        check("pow2", r#"{"props":{},"work":[0,{"input":{"worker_account":"m"}}]}"#, Some("m"));
    }

    #[test]
    fn what_is_not_there_or_not_known_has_none() {
        check("hardfork", r#"{"hardfork_id":1}"#, None);
        check("never_heard_of", r#"{"account":"ann"}"#, None);
        check("vote", "5", None);
        check("vote", "[]", None);
        check("vote", r#"{"voter":7}"#, None);
        check("vote", r#"{"voter":""}"#, None);
        check("pow2", r#"{"work":[0]}"#, None);
    }
}
