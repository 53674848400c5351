//! Text that people and terminals can be shown, and JSON that keeps its bytes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use procession::exit::is_unsafe;

/// Text with its control characters escaped: one line, whatever it holds.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let escaped = text.chars().flat_map(|char| {
        let unsafe_char = is_unsafe(char).then(|| char.escape_default());
        let safe_char = (!is_unsafe(char)).then_some(char);
        unsafe_char.into_iter().flatten().chain(safe_char)
    });
    escaped.collect::<String>().into()
}

/// Bytes as text where they are UTF-8, with everything else escaped: one line, whatever they hold.
pub(crate) fn escape_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => escape(text),
        Err(_) => bytes.escape_ascii().to_string().into(),
    }
}

/// JSON that means the same, and has nothing in it that a terminal would obey. What is unsafe can only be
/// inside of strings, where it can be said in ASCII.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_unsafe(char) {
            // None of them lies beyond U+FFFF.
            write!(escaped, "\\u{:04x}", u32::from(char)).expect("a string takes everything");
        } else {
            escaped.push(char);
        }
    }
    escaped.into()
}

/// JSON text without the white space between its tokens; numbers, keys and their order stay as they are.
pub(crate) fn compact_json(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    each_token(json, |token| compact.push_str(token));
    compact
}

/// JSON text with one value a line; numbers, keys and their order stay as they are.
pub(crate) fn indent_json(json: &str) -> String {
    let mut indented = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut before = "";
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    each_token(json, |token| {
        let (opens, closes) = (matches!(token, "{" | "["), matches!(token, "}" | "]"));
        let first = matches!(before, "{" | "[");
        depth = depth.saturating_sub(usize::from(closes));
        // An empty list stays as it is.
        if first != closes || before == "," {
            new_line(&mut indented, depth);
        }
        depth += usize::from(opens);
        indented.push_str(token);
        if token == ":" {
            indented.push(' ');
        }
        before = token;
    });
    indented
}

/// Takes JSON apart: strings, brackets, commas, colons and everything else that belongs together.
fn each_token<'a>(json: &'a str, mut take: impl FnMut(&'a str)) {
    let mut rest = json.trim_start();
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_bytes(rest),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest.find(|char: char| "{}[],:\" \t\r\n".contains(char)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        take(token);
        rest = after.trim_start_matches([' ', '\t', '\r', '\n']);
    }
}

/// Length of the string, quotes included, that the text begins with.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// A duration as people say it: `3.2 s`, `5 min`, `2 d`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes in binary units: `512 B`, `1.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A count with its unit: `1 record`, `2 records`.
pub(crate) struct Count(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(count, unit) = *self;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let hostile = "a\u{1b}[31m\r\n\u{7f}\u{9b}1m\u{202e}é\0";
        let shown = escape(hostile);
        assert!(!shown.contains(is_unsafe), "{shown:?}");
        assert!(
            shown.starts_with('a') && shown.contains('é') && shown.contains("\\u{1b}[31m\\r\\n"),
            "{shown}"
        );
        assert!(matches!(escape("plain é"), Cow::Borrowed(_)));
        assert_eq!(escape_bytes(b"\xff\x1bx"), "\\xff\\x1bx");
    }

    #[test]
    fn json_stays_the_same_value_when_it_is_made_safe() {
        let json = serde_json::to_string("a\u{7f}\u{9b}\u{202e}\u{1b}z").unwrap();
        let safe = escape_json(&json);
        assert!(!safe.contains(is_unsafe), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{7f}\u{9b}\u{202e}\u{1b}z");
    }

    #[test]
    fn compacting_keeps_every_token_as_it_was() {
        for (json, compact) in [
            (" { \"b\" : 1.0,\n\"a\":[ 1e3 , true,null ] } ", r#"{"b":1.0,"a":[1e3,true,null]}"#),
            (r#"{"a b": "x \" , \\", "c": ""}"#, r#"{"a b":"x \" , \\","c":""}"#),
            ("  12345678901234567890123  ", "12345678901234567890123"),
            ("[ ]", "[]"),
        ] {
            assert_eq!(compact_json(json), compact);
            assert_eq!(compact_json(&indent_json(json)), compact);
        }
    }

    #[test]
    fn indenting_puts_a_value_on_a_line() {
        let json = r#"{"b":[1,{}],"a":{"c":[]},"d":"x"}"#;
        let lines = [
            "{",
            "  \"b\": [",
            "    1,",
            "    {}",
            "  ],",
            "  \"a\": {",
            "    \"c\": []",
            "  },",
            "  \"d\": \"x\"",
            "}",
        ];
        assert_eq!(indent_json(json), lines.join("\n"));
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(
            (bytes(0), bytes(1536), bytes(5 << 20)),
            ("0 B".into(), "1.5 KiB".into(), "5.0 MiB".into())
        );
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(duration(Duration::from_millis(3_210)), "3.2 s");
        assert_eq!(duration(Duration::from_secs(7_200)), "2 h");
        assert_eq!(Count(1, "record").to_string(), "1 record");
    }
}
