//! Why something was not done, as the customer is told: with what only time can mend, the page asks again.

use axum::http::StatusCode;
use contracts::checkout::{BasketError, PaymentError, ScaleError, ScannerError};
use procession::calls::{Failure, Refusal};
use serde::Serialize;

/// An answer that isn't what was wanted: `{"error":"UnknownProduct","message":"There is no product …"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) status: StatusCode,
    /// The name of the error.
    pub(crate) error: String,
    /// A sentence for whoever stands before the screen.
    pub(crate) message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    message: &'a str,
}

impl Trouble {
    pub(crate) fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        Trouble { status, error: error.to_owned(), message: message.into() }
    }

    /// The request itself is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Trouble::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// What is asked for doesn't fit what the customer is about.
    pub(crate) fn conflict(error: &str, message: impl Into<String>) -> Self {
        Trouble::new(StatusCode::CONFLICT, error, message)
    }

    /// It may work in a moment.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
    }

    pub(crate) fn to_json(&self) -> String {
        let body = Body { error: &self.error, message: &self.message };
        serde_json::to_string(&body).expect("text is JSON")
    }
}

/// Errors of an interface, as the customer is told.
pub(crate) trait Tell: Refusal {
    /// Who says so: `The basket`.
    const WHO: &'static str;

    /// Whether asking again may help.
    fn passes(&self) -> bool;

    /// A sentence.
    fn sentence(&self) -> String {
        sentence(&self.to_string())
    }
}

impl<E: Tell> From<Failure<E>> for Trouble {
    fn from(failure: Failure<E>) -> Self {
        let who = E::WHO;
        match failure {
            Failure::Refused(error) if error.passes() => Trouble::unavailable(error.sentence()),
            Failure::Refused(error) => Trouble::conflict(&name(&error), error.sentence()),
            Failure::Busy { .. } => Trouble::unavailable(format!("{who} has a lot to do.")),
            failure => {
                tracing::debug!(%failure, "not available");
                Trouble::unavailable(format!("{who} is not available."))
            }
        }
    }
}

impl Tell for BasketError {
    const WHO: &'static str = "The basket";

    fn passes(&self) -> bool {
        matches!(self, Self::NotRecorded { .. } | Self::TooManySessions { .. })
    }
}

impl Tell for ScannerError {
    const WHO: &'static str = "The scanner";

    fn passes(&self) -> bool {
        matches!(self, Self::BasketUnavailable { .. } | Self::RateLimited { .. } | Self::NotRecorded { .. })
    }

    fn sentence(&self) -> String {
        match self {
            Self::BasketUnavailable { .. } => "The basket is not available.".to_owned(),
            _ => sentence(&self.to_string()),
        }
    }
}

impl Tell for ScaleError {
    const WHO: &'static str = "The scale";

    fn passes(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::NotRecorded { .. })
    }
}

impl Tell for PaymentError {
    const WHO: &'static str = "Payment";

    fn passes(&self) -> bool {
        matches!(
            self,
            Self::BankUnavailable { .. } | Self::BasketUnavailable { .. } | Self::NotRecorded { .. }
        )
    }

    fn sentence(&self) -> String {
        match self {
            Self::MismatchOpen { expected_grams, measured_grams, .. } => format!(
                "The weight in the bag is not right: it should be {expected_grams} g, and the scale shows \
                 {measured_grams} g. Go back to shopping to correct it."
            ),
            Self::BankUnavailable { .. } => "The bank can't be asked.".to_owned(),
            Self::BasketUnavailable { .. } => "The basket is not available.".to_owned(),
            Self::NotVerified { .. } => {
                "The weight could not be checked yet, and without that nothing can be paid. Try again in a moment."
                    .to_owned()
            }
            _ => sentence(&self.to_string()),
        }
    }
}

/// The name of an error, which is that of its variant.
fn name<E: Refusal>(error: &E) -> String {
    let named = serde_json::to_value(error).unwrap_or_default();
    named["error"].as_str().unwrap_or("Refused").to_owned()
}

/// With a capital at its beginning and a full stop at its end.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_time_can_mend_is_told_from_what_is_final() {
        let down = Failure::<BasketError>::Unreachable { server: "basket".to_owned(), reason: String::new() };
        assert_eq!(Trouble::from(down), Trouble::unavailable("The basket is not available."));
        let unknown = Failure::Refused(BasketError::UnknownProduct { product: "unicorn".to_owned() });
        let expected = Trouble::conflict("UnknownProduct", "There is no product \"unicorn\".");
        assert_eq!(Trouble::from(unknown), expected);
        assert_eq!(
            expected.to_json(),
            r#"{"error":"UnknownProduct","message":"There is no product \"unicorn\"."}"#
        );
        let basket = ScannerError::BasketUnavailable { reason: "no socket".to_owned(), uncertain: false };
        let told = Trouble::from(Failure::Refused(basket));
        assert_eq!(told, Trouble::unavailable("The basket is not available."));
    }
}
