//! What a call is made of: a type for the request, which names those of its reply and its errors.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The parameters of one method. Its type names the method, the reply and the errors, on both sides.
///
/// ```
/// use procession::calls::Request;
/// use serde::{Deserialize, Serialize};
///
/// /// Adds an item to a basket.
/// #[derive(Serialize, Deserialize)]
/// struct AddItem { session: String, product: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct Added { line: u32 }
///
/// #[derive(Debug, Serialize, Deserialize, thiserror::Error)]
/// #[serde(tag = "error", content = "parameters")]
/// enum BasketError {
///     #[error("there is no product {product:?}")]
///     UnknownProduct { product: String },
/// }
///
/// impl Request for AddItem {
///     const METHOD: &'static str = "io.procession.checkout.Basket.AddItem";
///     type Reply = Added;
///     type Error = BasketError;
/// }
/// ```
pub trait Request: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The method's full name: `interface.Method`.
    const METHOD: &'static str;

    /// Whether asking twice does no more than asking once. Only such a request is repeated when the connection
    /// was lost and the server may have seen it.
    const IDEMPOTENT: bool = false;

    /// What the method answers with. Written as a JSON object: a struct, `{}` for [`NoReply`].
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// What the method refuses with: an enum with `#[serde(tag = "error", content = "parameters")]`, whose variants
    /// are the errors of the interface. [`NoError`] where it never does.
    type Error: Refusal;
}

/// The errors of an interface, as an enum whose variants carry their names:
/// `#[serde(tag = "error", content = "parameters")]`.
pub trait Refusal: std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T> Refusal for T where T: std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static {}

/// A reply without parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoReply {}

/// For methods that never refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum NoError {}

/// The interface of a method's full name.
pub(crate) fn interface_of(method: &str) -> &str {
    method.rsplit_once('.').map_or("", |(interface, _)| interface)
}
