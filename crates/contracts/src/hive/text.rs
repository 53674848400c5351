//! Strings of strangers: what the chain calls text isn't always Unicode.
//!
//! JSON can spell half a surrogate pair (`"\ud800"`), which no Rust string can hold. The views read such text
//! with U+FFFD in its place, rather than failing; the payload itself keeps what was served.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// For `#[serde(deserialize_with)]`: any JSON string, odd places replaced.
pub(crate) fn lossy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    bytes(deserializer).map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Any JSON string as bytes, half surrogates included (as WTF-8).
pub(crate) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_bytes(Bytes)
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn half_a_surrogate_pair_is_replaced_and_the_rest_kept() {
        let read = |json: &str| super::lossy(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(read(r#""plain é \ud83d\ude00 \n""#).unwrap(), "plain é 😀 \n");
        let odd = read(r#""a\ud800b""#).unwrap();
        assert!(odd.starts_with('a') && odd.ends_with('b') && odd.contains('\u{fffd}'), "{odd:?}");
        assert!(read("7").is_err());
    }
}
