//! Parameters as hived reads them: tolerant where it is, and refusing with its words where it refuses.

use serde_json::{Map, Value};

use super::RpcError;

/// What hived calls a value's type.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null_type",
        Value::Bool(_) => "bool_type",
        Value::Number(number) if number.is_u64() => "uint64_type",
        Value::Number(number) if number.is_i64() => "int64_type",
        Value::Number(_) => "double_type",
        Value::String(_) => "string_type",
        Value::Array(_) => "array_type",
        Value::Object(_) => "object_type",
    }
}

/// The arguments of an appbase method.
pub(super) fn object(params: &Value) -> Result<&Map<String, Value>, RpcError> {
    params
        .as_object()
        .ok_or_else(|| RpcError::bad_cast(&format!("Invalid cast from type '{}' to Object", kind(params))))
}

/// The arguments of a condenser's method: so many.
pub(super) fn array(params: &Value, least: usize, most: usize) -> Result<&[Value], RpcError> {
    let Value::Array(args) = params else {
        return Err(RpcError::bad_cast(&format!("Invalid cast from {} to Array", kind(params))));
    };
    if (least..=most).contains(&args.len()) {
        return Ok(args);
    }
    let was = args.len();
    Err(RpcError::assert(&match (least, most) {
        (1, 1) => format!("args.size() == 1: Expected 1 argument, was {was}"),
        _ => format!(
            "args.size() >= {least} && args.size() <= {most}: Expected {least}-{most} arguments, was {was}"
        ),
    }))
}

/// An unsigned integer. What is negative wraps round, as it does in hived: no block has such a number.
pub(super) fn uint64(value: Option<&Value>) -> Result<u64, RpcError> {
    match value {
        None | Some(Value::Null) => Ok(0),
        Some(Value::Bool(bit)) => Ok((*bit).into()),
        Some(Value::Number(number)) => Ok(match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => value,
            (None, Some(negative)) => negative.cast_unsigned(),
            (None, None) => whole(number.as_f64().unwrap_or_default()),
        }),
        Some(Value::String(text)) => text.parse().map_err(|_| RpcError::parse_number("uint64_t")),
        Some(other) => Err(RpcError::bad_cast(&format!("Invalid cast from {} to uint64", kind(other)))),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating is what is wanted")]
fn whole(number: f64) -> u64 {
    number as u64
}

pub(super) fn boolean(value: Option<&Value>) -> Result<bool, RpcError> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(bit)) => Ok(*bit),
        Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(Value::String(text)) => text.parse().map_err(|_| {
            RpcError::bad_cast("Cannot convert string to bool (only \"true\" or \"false\" can be converted)")
        }),
        Some(other) => Err(RpcError::bad_cast(&format!("Invalid cast from {} to bool", kind(other)))),
    }
}
