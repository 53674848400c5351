//! What is a valid session, request id, lane or weight.

/// Longest session id, request id and product code, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest key of a charge, in bytes: a session's id and the number of an attempt.
pub const CHARGE_BYTES_MAX: usize = 80;
/// Lanes are numbered from 1 up to this.
pub const LANE_MAX: u32 = 999;
/// No item, and no bag, weighs more: 100 kg.
pub const GRAMS_MAX: i64 = 100_000;

/// A value that can't be right: which, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Invalid {
    /// The parameter.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Checks a session's id: letters, digits, `-`, `_` and `.`, up to 64 bytes, such as `3-000017`.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_session(session: &str) -> Result<(), Invalid> {
    check_name("session", session, NAME_BYTES_MAX)
}

/// Checks a request's id, by the same rule as a session's.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_request(request: &str) -> Result<(), Invalid> {
    check_name("request", request, NAME_BYTES_MAX)
}

/// Checks a product's code, by the same rule as a session's.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_product(product: &str) -> Result<(), Invalid> {
    check_name("product", product, NAME_BYTES_MAX)
}

/// Checks what a bank knows a charge by, by the same rule as a session's, up to [`CHARGE_BYTES_MAX`].
///
/// # Errors
/// Says what is wrong with it.
pub fn check_charge(charge: &str) -> Result<(), Invalid> {
    check_name("charge", charge, CHARGE_BYTES_MAX)
}

/// Checks a lane's number.
///
/// # Errors
/// It is 0 or too large.
pub fn check_lane(lane: u32) -> Result<(), Invalid> {
    if (1..=LANE_MAX).contains(&lane) {
        return Ok(());
    }
    Err(Invalid { field: "lane", reason: format!("is {lane}: lanes are numbered from 1 to {LANE_MAX}") })
}

/// Checks the weight of something that lies on a scale.
///
/// # Errors
/// It is negative, or more than [`GRAMS_MAX`].
pub fn check_grams(grams: i64) -> Result<(), Invalid> {
    let reason = match grams {
        0..=GRAMS_MAX => return Ok(()),
        ..0 => format!("is {grams}: a weight can't be negative"),
        _ => format!("is {grams}: nothing here weighs more than {GRAMS_MAX} g"),
    };
    Err(Invalid { field: "grams", reason })
}

fn check_name(field: &'static str, name: &str, bytes_max: usize) -> Result<(), Invalid> {
    let refused = |reason: String| Err(Invalid { field, reason });
    if name.is_empty() {
        return refused("is empty".to_owned());
    }
    if name.len() > bytes_max {
        return refused(format!("has {} bytes: at most {bytes_max} are allowed", name.len()));
    }
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    match name.chars().find(|char| !allowed(*char)) {
        None => Ok(()),
        Some(char) => refused(format!("contains {char:?}; allowed are letters, digits, `-`, `_` and `.`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        check_session("3-000017").unwrap();
        check_request("7F.a_b").unwrap();
        for (bad, reason) in [("", "empty"), ("a b", "' '"), ("é", "'é'"), ("\0", "\\0")] {
            assert!(check_session(bad).unwrap_err().to_string().contains(reason), "{bad:?}");
        }
        assert!(check_session(&"x".repeat(65)).unwrap_err().reason.contains("65 bytes"));
        check_grams(0).unwrap();
        assert!(check_grams(-1).unwrap_err().reason.contains("negative"));
        assert!(check_grams(i64::MAX).is_err() && check_grams(i64::MIN).is_err());
        check_lane(1).unwrap();
        assert!(check_lane(0).is_err() && check_lane(u32::MAX).is_err());
    }
}
