//! The errors of hived and of the proxies before it, worded as they word them.

use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// hived's `FC_ASSERT` during a call.
    pub(super) fn assert(message: &str) -> Self {
        Self::exception(-32003, 10, "assert_exception", "Assert Exception", message)
    }

    /// An argument of the wrong type.
    pub(super) fn bad_cast(message: &str) -> Self {
        Self::exception(-32000, 7, "bad_cast_exception", "Bad Cast", message)
    }

    pub(super) fn parse_number(kind: &str) -> Self {
        let message = format!("Couldn't parse {kind}");
        Self::exception(-32000, 4, "parse_error_exception", "Parse Error", &message)
    }

    pub(super) fn no_api(api: &str) -> Self {
        Self {
            code: -32002,
            ..Self::assert(&format!("api_itr != _registered_apis.end(): Could not find API {api}"))
        }
    }

    pub(super) fn no_method(method: &str) -> Self {
        Self {
            code: -32002,
            ..Self::assert(&format!("method_itr != api_itr->second.end(): Could not find method {method}"))
        }
    }

    pub(super) fn batch_too_large() -> Self {
        Self::new(1600, "Batch JSONRPC request contains too many jsonrpc calls")
    }

    /// The same, met while the request itself was read.
    pub(super) fn while_parsing(self) -> Self {
        Self { code: -32700, ..self }
    }

    /// The usual text of a code.
    pub(super) fn of_code(code: i64) -> Self {
        let message = match code {
            -32700 => "Parse error",
            -32600 => "Invalid Request",
            -32601 => "Method not found",
            -32602 => "Invalid parameters",
            -32603 => "Internal Error",
            -32001 => "A member \"params\" does not exist",
            -32002 => "Assert Exception:api_itr != _registered_apis.end(): Could not find API block_api",
            -32003 => "Assert Exception:false: on purpose",
            1000 => "Request Timeout",
            1050 => "Response Timeout",
            1100 => "Bad or missing upstream response",
            1200 | 1300 => "Invalid/unhealthy upstream None : No matching url found",
            1400 | 1500 => "Invalid upstream response",
            1600 => "Batch JSONRPC request contains too many jsonrpc calls",
            1700 | 1701 => "JSONRPC request exceeds limits",
            _ => "Server error",
        };
        let data = matches!(code, -32603 | 1000..=1500)
            .then(|| json!({"error_id": "00000000-0000-4000-8000-000000000000", "jussi_request_id": "000000000000000000"}));
        Self { code, message: message.to_owned(), data }
    }

    fn exception(code: i64, number: u32, name: &str, title: &str, message: &str) -> Self {
        let data = json!({"code": number, "name": name, "message": title, "stack": [{"format": message, "data": {}}]});
        Self { code, message: format!("{title}:{message}"), data: Some(data) }
    }
}
