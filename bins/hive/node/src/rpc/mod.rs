//! JSON-RPC 2.0 as hived speaks it: a request and a view of the chain in, an answer out.

mod errors;
mod methods;
mod params;
mod properties;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::faults::{Effects, RpcCode};
use crate::json::{self, Raw};
use crate::view::View;

pub(crate) use errors::RpcError;
use methods::Method;

/// What a body holds: one request or a batch of them.
#[derive(Debug)]
pub(crate) enum Body {
    One(Value),
    Batch(Vec<Value>),
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RpcError>,
    id: &'a Value,
}

/// Requests in one batch; a proxy takes fewer.
const BATCH_MAX: usize = 1000;

impl Body {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RpcError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Array(requests)) if requests.is_empty() => {
                Err(RpcError::new(-32000, "Array is invalid"))
            }
            Ok(Value::Array(requests)) if requests.len() > BATCH_MAX => Err(RpcError::batch_too_large()),
            Ok(Value::Array(requests)) => Ok(Self::Batch(requests)),
            Ok(request) => Ok(Self::One(request)),
            Err(_) if bytes.is_empty() => Err(RpcError::new(-32000, "End Of File:stringstream")),
            Err(error) => Err(RpcError::new(-32700, format!("Parse Error:{error}"))),
        }
    }

    pub(crate) fn requests(&self) -> &[Value] {
        match self {
            Self::One(request) => std::slice::from_ref(request),
            Self::Batch(requests) => requests,
        }
    }

    /// The answers in the shape of the body.
    pub(crate) fn joined(&self, answers: Vec<Raw>) -> Raw {
        match self {
            Self::One(_) => answers.into_iter().next().unwrap_or_else(|| json::raw(&())),
            Self::Batch(_) => json::raw(&answers),
        }
    }
}

/// The method that a request calls, by its usual name; `None` if there is no such method.
pub(crate) fn method_name(request: &Value) -> Option<&'static str> {
    Method::of(request).ok().map(|(method, _)| method.name())
}

/// The answer to one request; a fault that is an error takes the place of it.
pub(crate) fn answer(request: &Value, view: &View<'_>, effects: &Effects) -> Raw {
    let id = request.get("id").unwrap_or(&Value::Null);
    if let Some((code, _)) = effects.rpc {
        return error(id, &RpcError::fault(code));
    }
    let Value::Object(_) = request else {
        return error(
            id,
            &RpcError::bad_cast(&format!("Invalid cast from type '{}' to Object", params::kind(request)))
                .while_parsing(),
        );
    };
    if !matches!(id, Value::Null | Value::String(_)) && !id.is_i64() && !id.is_u64() {
        let message = "Only integer value or string is allowed for member \"id\"";
        return error(&Value::Null, &RpcError::new(-32600, message));
    }
    match Method::of(request).and_then(|(method, params)| method.call(params, view)) {
        Ok(result) => response(Some(&result), None, id),
        Err(refusal) => error(id, &refusal),
    }
}

pub(crate) fn error(id: &Value, error: &RpcError) -> Raw {
    response(None, Some(error), id)
}

fn response(result: Option<&RawValue>, error: Option<&RpcError>, id: &Value) -> Raw {
    json::raw(&Response { jsonrpc: "2.0", result, error, id })
}

impl RpcError {
    fn fault(code: RpcCode) -> Self {
        match code {
            RpcCode::Lock => Self::new(-32003, "Unable to acquire database lock"),
            RpcCode::Code(code) => Self::of_code(code),
        }
    }
}

#[cfg(test)]
mod tests;
