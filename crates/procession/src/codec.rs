//! The codecs of events. The only place that names `bincode`: another compact codec can take its place
//! here.

use journal::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends the encoded `value` to `out`.
///
/// # Errors
/// In words; also for [`Codec::Raw`], which carries bytes and not values.
pub(crate) fn encode<T: Serialize + ?Sized>(
    codec: Codec,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match codec {
        Codec::Json => serde_json::to_writer(out, value).map_err(|error| error.to_string()),
        Codec::Bincode => bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Codec::Raw => Err("raw payloads are bytes: publish them as a message".to_owned()),
    }
}

/// Decodes a value out of all of `bytes`.
///
/// # Errors
/// In words.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, String> {
    match codec {
        Codec::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Codec::Bincode => match bincode::serde::decode_from_slice(bytes, bincode::config::standard()) {
            Ok((value, used)) if used == bytes.len() => Ok(value),
            Ok((_, used)) => Err(format!("{} bytes are left over", bytes.len() - used)),
            Err(error) => Err(error.to_string()),
        },
        Codec::Raw => Err("raw payloads are bytes: subscribe to them as messages".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codecs_give_back_what_they_took() {
        let value = (7_u64, "text".to_owned(), Some(vec![1_u8, 2]));
        for codec in [Codec::Json, Codec::Bincode] {
            let mut bytes = Vec::new();
            encode(codec, &value, &mut bytes).unwrap();
            assert_eq!(decode::<(u64, String, Option<Vec<u8>>)>(codec, &bytes).unwrap(), value);
            bytes.push(0);
            assert!(decode::<(u64, String, Option<Vec<u8>>)>(codec, &bytes).is_err());
        }
    }
}
