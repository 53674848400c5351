//! What can be set.

use std::collections::BTreeMap;

use contracts::hive::{Amount, Asset};
use procession::settings::ConfigurationError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// Amounts by asset: a transfer of more than that is published. Without any: `HIVE=1000,HBD=1000`.
    ///
    /// The old names STEEM and SBD mean HIVE and HBD. An asset without a threshold isn't watched.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) thresholds: BTreeMap<String, Threshold>,
}

impl Settings {
    /// The thresholds as amounts, one per asset.
    pub(crate) fn amounts(&self) -> Result<Vec<Amount>, ConfigurationError> {
        if self.thresholds.is_empty() {
            let thousand = |asset| Amount { units: 1000, precision: 0, asset };
            return Ok([Asset::Hive, Asset::Hbd].map(thousand).to_vec());
        }
        let mut amounts = Vec::<Amount>::new();
        for (name, Threshold(text)) in &self.thresholds {
            let refused = |reason: String| ConfigurationError::setting(&format!("thresholds.{name}"), reason);
            let amount =
                Amount::parse(text, Asset::named(name)).map_err(|error| refused(error.to_string()))?;
            if amounts.iter().any(|known| known.asset == amount.asset) {
                return Err(refused(format!("{} has a threshold under another name", amount.asset.symbol())));
            }
            amounts.push(amount);
        }
        Ok(amounts)
    }
}

/// A decimal number that isn't negative: `1000.000`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Threshold(String);

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Amount::parse(&text, Asset::Hive) {
            Ok(amount) if amount.units >= 0 => Ok(Threshold(text)),
            _ => Err(format!("{text:?} is no amount: it must look like \"1000.000\"")),
        }
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> Self {
        threshold.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn amounts(thresholds: serde_json::Value) -> Result<Vec<String>, String> {
        let settings: Settings =
            serde_json::from_value(json!({ "thresholds": thresholds })).map_err(|error| error.to_string())?;
        let amounts = settings.amounts().map_err(|error| error.to_string())?;
        Ok(amounts.iter().map(Amount::to_string).collect())
    }

    #[test]
    fn thresholds_are_amounts_by_asset_under_old_and_new_names() {
        assert_eq!(amounts(json!({})).unwrap(), ["1000 HIVE", "1000 HBD"]);
        assert_eq!(amounts(json!({"STEEM": "0.5", "HBD": "7.000"})).unwrap(), ["7.000 HBD", "0.5 HIVE"]);
        assert_eq!(amounts(json!({"@@000000037": "1.000000"})).unwrap(), ["1.000000 VESTS"]);
    }

    #[test]
    fn what_is_no_threshold_is_refused() {
        for (thresholds, reason) in [
            (json!({"HIVE": "lots"}), "no amount"),
            (json!({"HIVE": "-1"}), "no amount"),
            (json!({"HIVE": "1.000 HIVE"}), "no amount"),
            (json!({"HIVE": "1", "STEEM": "2"}), "under another name"),
        ] {
            let error = amounts(thresholds).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
