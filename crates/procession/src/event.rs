//! Events: typed payloads under a topic, and messages whose topic is known only at run time.

use std::borrow::Cow;

use journal::{Codec, Offset};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::{Error, Result};
use crate::subscribe::Delivery;

/// A payload type with its topic.
///
/// ```
/// use std::borrow::Cow;
/// use procession::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct ItemAdded { basket: String, article: u32 }
///
/// impl Event for ItemAdded {
///     const TOPIC: &'static str = "item-added";
///     fn key(&self) -> Option<Cow<'_, [u8]>> { Some(self.basket.as_bytes().into()) }
/// }
/// ```
pub trait Event: Serialize + DeserializeOwned {
    /// The topic within the publishing process: see [`crate::names::check_topic`].
    const TOPIC: &'static str;
    /// How the payload is encoded: JSON, which any language reads, or bincode for hot topics
    /// between Rust programs.
    const CODEC: Codec = Codec::Json;

    /// What events must be kept in order with each other: those with the same key.
    fn key(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
}

/// What a subscription delivers: an [`Event`], or [`Any`].
pub trait Payload: Sized {
    /// The only topic that carries it, if there is one.
    const TOPIC: Option<&'static str>;

    /// Takes the payload out of a record.
    ///
    /// # Errors
    /// In words: the delivery is parked as a dead letter.
    fn take(codec: Codec, bytes: &[u8]) -> Result<Self, String>;
}

impl<E: Event> Payload for E {
    const TOPIC: Option<&'static str> = Some(E::TOPIC);

    #[inline]
    fn take(codec: Codec, bytes: &[u8]) -> Result<Self, String> {
        codec::decode(codec, bytes)
    }
}

/// A payload of any topic and codec, as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Any {
    /// How `bytes` is encoded.
    pub codec: Codec,
    /// The payload.
    pub bytes: Vec<u8>,
}

impl Any {
    /// Reads it as a `T`.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let what = || "a payload".to_owned();
        codec::decode(self.codec, &self.bytes).map_err(|reason| Error::Decode { what: what(), reason })
    }
}

impl Payload for Any {
    const TOPIC: Option<&'static str> = None;

    fn take(codec: Codec, bytes: &[u8]) -> Result<Self, String> {
        Ok(Self { codec, bytes: bytes.to_vec() })
    }
}

/// Something to be published under a topic that is known only at run time.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub(crate) topic: Cow<'a, str>,
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) cause: Option<(Cow<'a, str>, Offset)>,
    pub(crate) codec: Codec,
    pub(crate) payload: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// A message with a JSON payload.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn json<T: Serialize + ?Sized>(topic: impl Into<Cow<'a, str>>, value: &T) -> Result<Self> {
        let topic = topic.into();
        match serde_json::to_vec(value) {
            Ok(payload) => Ok(Self::encoded(topic, Codec::Json, payload)),
            Err(error) => Err(Error::Encode { topic: topic.into_owned(), reason: error.to_string() }),
        }
    }

    /// A message whose payload is encoded already.
    pub fn encoded(topic: impl Into<Cow<'a, str>>, codec: Codec, payload: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { topic: topic.into(), key: None, cause: None, codec, payload: payload.into() }
    }

    /// Sets the key, within which order is kept.
    #[must_use]
    pub fn key(self, key: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Names the delivery that led to it.
    #[must_use]
    pub fn caused_by<P>(self, delivery: &Delivery<P>) -> Self {
        self.cause(delivery.journal().to_owned(), delivery.offset)
    }

    /// Names the record that led to it.
    #[must_use]
    pub fn cause(self, journal: impl Into<Cow<'a, str>>, offset: Offset) -> Self {
        Self { cause: Some((journal.into(), offset)), ..self }
    }
}
