//! Amounts of the chain's currencies, in the three forms that nodes have used.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// More decimals than this are refused; the chain uses 3 and 6.
const PRECISION_MAX: u8 = 12;

/// A currency. The old chain's names (`STEEM`, `SBD`) mean the same assets as the new one's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// `HIVE`, formerly `STEEM`: NAI `@@000000021`, 3 decimals.
    Hive,
    /// `HBD`, formerly `SBD`: NAI `@@000000013`, 3 decimals.
    Hbd,
    /// `VESTS`: NAI `@@000000037`, 6 decimals.
    Vests,
    /// Any other, by the name that was served: a symbol or an NAI.
    Other(String),
}

impl Asset {
    /// The asset of a symbol (`HIVE`, `SBD`) or of an NAI (`@@000000021`).
    pub fn named(name: &str) -> Self {
        match name {
            "HIVE" | "STEEM" | "@@000000021" => Asset::Hive,
            "HBD" | "SBD" | "@@000000013" => Asset::Hbd,
            "VESTS" | "@@000000037" => Asset::Vests,
            other => Asset::Other(other.to_owned()),
        }
    }

    /// Today's symbol; for another asset the name that was served.
    pub fn symbol(&self) -> &str {
        match self {
            Asset::Hive => "HIVE",
            Asset::Hbd => "HBD",
            Asset::Vests => "VESTS",
            Asset::Other(name) => name,
        }
    }

    fn nai(&self) -> &str {
        match self {
            Asset::Hive => "@@000000021",
            Asset::Hbd => "@@000000013",
            Asset::Vests => "@@000000037",
            Asset::Other(name) => name,
        }
    }
}

/// An exact amount of one asset.
///
/// Read from `"1.000 HIVE"`, `{"amount":"1000","precision":3,"nai":"@@000000021"}` or
/// `["1000",3,"@@000000021"]`; written in the second form, which is today's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// How many of the smallest unit: 1000 for `1.000 HIVE`.
    pub units: i64,
    /// How many of `units`' digits are decimals, at most 12.
    pub precision: u8,
    /// Of what.
    pub asset: Asset,
}

/// Text that isn't an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountError {
    text: String,
}

impl fmt::Display for AmountError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "not an amount: {:?} (an amount looks like \"1.000 HIVE\")", self.text)
    }
}

impl std::error::Error for AmountError {}

impl Amount {
    /// An amount of `asset` from decimal digits: `("1.000", Asset::Hive)`.
    ///
    /// # Errors
    ///
    /// When `digits` isn't a decimal number, has more than 12 decimals, or overflows 64 bits.
    pub fn parse(digits: &str, asset: Asset) -> Result<Self, AmountError> {
        decimal(digits)
            .map(|(units, precision)| Amount { units, precision, asset })
            .ok_or_else(|| AmountError { text: digits.to_owned() })
    }

    /// The amount without its asset: `1.000`.
    pub fn decimal(&self) -> String {
        let sign = if self.units < 0 { "-" } else { "" };
        let precision = usize::from(self.precision);
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = precision + 1);
        let (whole, decimals) = digits.split_at(digits.len() - precision);
        if decimals.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") }
    }

    /// Compares the quantities, whatever their precisions; none where the assets differ.
    pub fn compare(&self, other: &Amount) -> Option<Ordering> {
        // At most 10^12 x 2^63 < 2^103: no overflow.
        let scaled = |amount: &Amount, by: u8| i128::from(amount.units) * 10_i128.pow(u32::from(by));
        (self.asset == other.asset).then(|| {
            let precision = self.precision.max(other.precision);
            scaled(self, precision - self.precision).cmp(&scaled(other, precision - other.precision))
        })
    }
}

/// Units and precision of a decimal number; none for anything else.
fn decimal(digits: &str) -> Option<(i64, u8)> {
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let precision = u8::try_from(decimals.len()).ok().filter(|&count| count <= PRECISION_MAX)?;
    if whole.is_empty() || !number(whole) || !number(decimals) || unsigned.ends_with('.') {
        return None;
    }
    let magnitude: i64 = format!("{whole}{decimals}").parse().ok()?;
    let units = if digits.starts_with('-') { -magnitude } else { magnitude };
    Some((units, precision))
}

impl fmt::Display for Amount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.decimal(), self.asset.symbol())
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError { text: text.to_owned() };
        let (digits, symbol) = text.split_once(' ').ok_or_else(error)?;
        if symbol.is_empty() || symbol.contains(' ') {
            return Err(error());
        }
        Amount::parse(digits, Asset::named(symbol)).map_err(|_| error())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Amount", 3)?;
        object.serialize_field("amount", &self.units.to_string())?;
        object.serialize_field("precision", &self.precision)?;
        object.serialize_field("nai", self.asset.nai())?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Amount;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an amount as text, object or list")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Amount, A::Error> {
        let missing = |index| A::Error::invalid_length(index, &"three entries");
        let units: Units = list.next_element()?.ok_or_else(|| missing(0))?;
        let precision: u8 = list.next_element()?.ok_or_else(|| missing(1))?;
        let nai: String = list.next_element()?.ok_or_else(|| missing(2))?;
        checked(units.0, precision, &nai)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Amount, A::Error> {
        #[derive(Deserialize)]
        struct Object {
            amount: Units,
            precision: u8,
            nai: String,
        }
        let object = Object::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        checked(object.amount.0, object.precision, &object.nai)
    }
}

fn checked<E: Error>(units: i64, precision: u8, nai: &str) -> Result<Amount, E> {
    if precision > PRECISION_MAX {
        return Err(E::custom(format_args!("precision {precision} is beyond {PRECISION_MAX}")));
    }
    Ok(Amount { units, precision, asset: Asset::named(nai) })
}

/// A 64-bit integer, which comes as a string or as a number.
struct Units(i64);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::view::integer(deserializer).map(Units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Amount, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn the_three_forms_are_one_amount() {
        let expected = Amount { units: 1000, precision: 3, asset: Asset::Hbd };
        for form in [
            r#""1.000 SBD""#,
            r#""1.000 HBD""#,
            r#"{"amount":"1000","precision":3,"nai":"@@000000013"}"#,
            r#"{"nai":"@@000000013","precision":3,"amount":1000}"#,
            r#"["1000",3,"@@000000013"]"#,
        ] {
            assert_eq!(read(form).unwrap(), expected, "{form}");
        }
        assert_eq!(
            serde_json::to_string(&expected).unwrap(),
            r#"{"amount":"1000","precision":3,"nai":"@@000000013"}"#
        );
    }

    #[test]
    fn amounts_print_with_their_decimals() {
        for text in ["0.001 HIVE", "-12.345 HBD", "157464400.971 HIVE", "0.000000 VESTS", "7 THING"] {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn quantities_compare_across_precisions_but_not_across_assets() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(amount("1000 HIVE").compare(&amount("1000.000 STEEM")), Some(Ordering::Equal));
        assert_eq!(amount("1000.001 HIVE").compare(&amount("1000 HIVE")), Some(Ordering::Greater));
        assert_eq!(amount("1 HIVE").compare(&amount("1 HBD")), None);
        let most = Amount { units: i64::MAX, precision: 0, asset: Asset::Hive };
        assert_eq!(most.compare(&amount("0.000000000001 HIVE")), Some(Ordering::Greater));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [
            r#""""#,
            r#""1.000""#,
            r#""HIVE""#,
            r#""1.000 ""#,
            r#""1. HIVE""#,
            r#"".5 HIVE""#,
            r#""1,000 HIVE""#,
            r#""+1 HIVE""#,
            r#""--1 HIVE""#,
            r#""1.0000000000000 HIVE""#,
            r#""99999999999999999999 HIVE""#,
            r#"["1000",3]"#,
            r#"["1000",200,"@@000000013"]"#,
            "{}",
            "5",
            "null",
            r#"{"amount":"1.5","precision":3,"nai":"@@000000013"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
