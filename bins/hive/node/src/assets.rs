//! Amounts in their two forms: `"1.000 HIVE"` (condenser) and
//! `{"amount":"1000","precision":3,"nai":"@@000000021"}` (appbase). Steem nodes of early 2018 also
//! answered `["1000",3,"@@000000021"]`.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{self, Fields, Raw, Shape};

/// Assets by number; the symbols of Steem are read, those of Hive are written, as Hive nodes do for
/// the whole history that they share with Steem.
const SYMBOLS: [(&str, &str); 5] = [
    ("@@000000013", "HBD"),
    ("@@000000021", "HIVE"),
    ("@@000000037", "VESTS"),
    ("@@000000013", "SBD"),
    ("@@000000021", "STEEM"),
];

/// Fields of operations that hold an amount. Going from strings to objects needs their names, since
/// a memo may well read `1.000 HIVE`; sorted, for the binary search.
const AMOUNT_FIELDS: [&str; 56] = [
    "account_creation_fee",
    "additional_funds",
    "amount",
    "amount_back",
    "amount_in",
    "amount_out",
    "amount_to_sell",
    "base",
    "beneficiary_payout_value",
    "curator_payout_value",
    "curators_vesting_payout",
    "current_pays",
    "daily_pay",
    "delegation",
    "deposited",
    "excess_collateral",
    "fee",
    "hbd_amount",
    "hbd_amount_out",
    "hbd_out",
    "hbd_payout",
    "hbd_transferred",
    "hive_amount",
    "hive_amount_in",
    "hive_payout",
    "hive_transferred",
    "hive_vested",
    "initial_delegation",
    "initial_vesting_shares",
    "interest",
    "max_accepted_payout",
    "min_to_receive",
    "open_pays",
    "payment",
    "payout",
    "pending_payout",
    "quote",
    "reward",
    "reward_hbd",
    "reward_hive",
    "reward_sbd",
    "reward_steem",
    "reward_vests",
    "sbd_amount",
    "sbd_payout",
    "steem_amount",
    "steem_payout",
    "total_cleared",
    "total_hive_from_vests",
    "total_moved",
    "total_payout_value",
    "vesting_payout",
    "vesting_shares",
    "vesting_shares_received",
    "vests_converted",
    "withdrawn",
];

#[derive(Serialize)]
struct Amount<'a> {
    amount: &'a str,
    precision: usize,
    nai: &'a str,
}

pub(crate) fn is_amount_field(name: &str) -> bool {
    AMOUNT_FIELDS.binary_search(&name).is_ok()
}

/// `"1.000 HIVE"` for an amount in object form (or in the triple of 2018); `None` for anything else.
pub(crate) fn to_text(value: &RawValue) -> Option<Raw> {
    let (amount, precision, nai) = match json::shape(value) {
        Shape::Object => object_parts(value)?,
        Shape::Array => triple_parts(value)?,
        Shape::String | Shape::Other => return None,
    };
    let (_, symbol) = SYMBOLS.iter().find(|(number, _)| *number == nai)?;
    let (sign, digits) = match amount.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", amount.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{digits:0>width$}", width = precision + 1);
    let (whole, fraction) = digits.split_at(digits.len() - precision);
    let point = if precision == 0 { "" } else { "." };
    Some(json::raw(&format!("{sign}{whole}{point}{fraction} {symbol}")))
}

/// The object form of `"1.000 HIVE"` (or of the triple of 2018); `None` for anything else.
pub(crate) fn to_object(value: &RawValue) -> Option<Raw> {
    if let Some((amount, precision, nai)) = triple_parts(value) {
        return Some(json::raw(&Amount { amount: &amount, precision, nai: &nai }));
    }
    let text = json::text(value)?;
    let (number, symbol) = text.split_once(' ')?;
    let (nai, _) = SYMBOLS.iter().find(|(_, name)| *name == symbol)?;
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    Some(json::raw(&Amount { amount: &format!("{sign}{digits}"), precision: fraction.len(), nai }))
}

fn object_parts(value: &RawValue) -> Option<(String, usize, String)> {
    let fields = Fields::parse(value.get()).ok()?;
    let parts = (fields.text("amount")?, precision(fields.get("precision")?)?, fields.text("nai")?);
    (fields.iter().count() == 3).then_some(parts)
}

fn triple_parts(value: &RawValue) -> Option<(String, usize, String)> {
    if json::shape(value) != Shape::Array {
        return None;
    }
    let [amount, places, nai] = <[Raw; 3]>::try_from(json::items(value)?).ok()?;
    let nai = json::text(&nai).filter(|nai| nai.starts_with("@@"))?;
    Some((json::text(&amount)?, precision(&places)?, nai))
}

/// At most 12 decimal places, as the chain has it.
fn precision(value: &RawValue) -> Option<usize> {
    value.get().parse().ok().filter(|places| *places <= 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Raw {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn both_ways() {
        for (text, object) in [
            (r#""1.000 HIVE""#, r#"{"amount":"1000","precision":3,"nai":"@@000000021"}"#),
            (r#""0.001 HBD""#, r#"{"amount":"1","precision":3,"nai":"@@000000013"}"#),
            (r#""0.000 HBD""#, r#"{"amount":"0","precision":3,"nai":"@@000000013"}"#),
            (
                r#""387982515270.615761 VESTS""#,
                r#"{"amount":"387982515270615761","precision":6,"nai":"@@000000037"}"#,
            ),
            (r#""-2.500 HIVE""#, r#"{"amount":"-2500","precision":3,"nai":"@@000000021"}"#),
        ] {
            assert_eq!(to_object(&parse(text)).unwrap().get(), object);
            assert_eq!(to_text(&parse(object)).unwrap().get(), text);
        }
    }

    #[test]
    fn older_spellings_are_read() {
        assert_eq!(
            to_object(&parse(r#""0.123 STEEM""#)).unwrap().get(),
            r#"{"amount":"123","precision":3,"nai":"@@000000021"}"#
        );
        assert_eq!(to_text(&parse(r#"["1000",3,"@@000000013"]"#)).unwrap().get(), r#""1.000 HBD""#);
    }

    #[test]
    fn what_is_no_amount_is_left_alone() {
        for text in
            [r#""""#, r#""1.000""#, r#""x HIVE""#, r#""1.0 DOGE""#, "[]", "7", "null", r#"{"amount":"1"}"#]
        {
            assert!(to_object(&parse(text)).is_none(), "{text}");
            assert!(to_text(&parse(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn field_names_are_sorted() {
        assert!(AMOUNT_FIELDS.is_sorted());
        assert!(is_amount_field("vesting_shares") && !is_amount_field("memo"));
    }
}
