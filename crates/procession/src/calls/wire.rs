//! Typed errors as Varlink has them: a full name and an object.

use serde_json::{Value, json};

use super::request::{Refusal, interface_of};
use crate::varlink::{CallError, error_names};

/// A refusal of `method`, as it travels.
pub(crate) fn refusal<E: Refusal>(method: &str, error: &E) -> CallError {
    let written = serde_json::to_value(error);
    let Ok(Value::Object(mut written)) = written else {
        return unwritable(error);
    };
    let Some(Value::String(name)) = written.remove("error") else {
        return unwritable(error);
    };
    let parameters = written.remove("parameters").unwrap_or_else(|| json!({}));
    CallError::new(format!("{}.{name}", interface_of(method)), parameters)
}

/// The refusal that came back from `method`; none if it is not one of `E`.
pub(super) fn read_refusal<E: Refusal>(method: &str, name: &str, parameters: &Value) -> Option<E> {
    let name = name.strip_prefix(interface_of(method))?.strip_prefix('.')?;
    let read = |value: Value| serde_json::from_value(value).ok();
    // An error without parameters is a unit variant, which must not have any content.
    let bare = || read(json!({"error": name}));
    read(json!({"error": name, "parameters": parameters})).or_else(bare)
}

/// The type breaks the rule of [`Refusal`]: better to say it in words than not at all.
fn unwritable<E: Refusal>(error: &E) -> CallError {
    CallError::new(error_names::NO_REPLY, json!({"reason": error.to_string()}))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
    #[serde(tag = "error", content = "parameters")]
    enum Example {
        #[error("unknown")]
        Unknown { product: String },
        #[error("closed")]
        Closed,
    }

    fn there_and_back(error: Example) {
        let CallError::Reply { name, parameters } = refusal("a.b.C.Do", &error) else { panic!("{error}") };
        assert!(parameters.is_object());
        assert_eq!(read_refusal::<Example>("a.b.C.Do", &name, &parameters), Some(error), "{name}");
    }

    #[test]
    fn errors_come_back_as_they_were() {
        there_and_back(Example::Unknown { product: "unicorn".to_owned() });
        there_and_back(Example::Closed);
        assert_eq!(read_refusal::<Example>("a.b.C.Do", "a.b.D.Closed", &json!({})), None);
        assert_eq!(read_refusal::<Example>("a.b.C.Do", "a.b.C.Other", &json!({})), None);
    }

    #[test]
    fn no_error_at_all_has_no_form() {
        assert!(read_refusal::<crate::calls::NoError>("a.B", "a.C", &json!({})).is_none());
    }
}
