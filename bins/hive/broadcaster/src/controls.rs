//! Control bytes that stand as they are in a JSON text's strings, where JSON wants them escaped.
//!
//! Some nodes serve posts so, and all nodes the same one: it is content, and must not hold up the chain.

use std::fmt::Write as _;

/// The text with the control bytes in its strings escaped; none if there are none. What a string says is the same.
pub(crate) fn escaped(json: &str) -> Option<String> {
    let mut text = String::new();
    // All that was looked at up to here is in `text`.
    let mut taken = 0;
    let (mut in_string, mut after_backslash) = (false, false);
    for (place, byte) in json.bytes().enumerate() {
        match byte {
            0..0x20 if in_string => {
                text.push_str(&json[taken..place]);
                taken = place + 1;
                // After a backslash it stands for itself: so does the backslash.
                let _ = write!(text, "{}\\u{byte:04x}", if after_backslash { "\\" } else { "" });
                after_backslash = false;
            }
            b'\\' if in_string => after_backslash = !after_backslash,
            b'"' if !after_backslash => in_string = !in_string,
            _ => after_backslash = false,
        }
    }
    (taken > 0).then(|| text + &json[taken..])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(json: &str, says: &str) {
        let text = escaped(json).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["a"], says, "{text}");
    }

    #[test]
    fn what_a_string_says_stays_and_the_rest_is_as_it_was() {
        check("{\"a\":\"made \u{3} a\"}", "made \u{3} a");
        check("{\n\t\"a\": \"\u{1b}[31m\\\"\n\u{1f}\\\\\" }", "\u{1b}[31m\"\n\u{1f}\\");
        check("{\"é\":\"\\\\\",\"a\":\"é\u{0}\"}", "é\u{0}");
        check("{\"a\":\"\\\n\"}", "\\\n");
        assert_eq!(escaped("{\n\"a\":\"\\u0003\\\\\"\r\n}"), None);
        assert_eq!(escaped("\u{0}{}"), None);
    }
}
