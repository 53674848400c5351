//! How deep a JSON text nests, without parsing it.

/// True when `text` nests objects and arrays deeper than `nesting_max`.
///
/// One pass, no memory: cheap enough to run before the parser, whose own
/// limit doesn't hold for the parts that it passes on unparsed.
pub(super) fn nests_deeper_than(text: &[u8], nesting_max: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > nesting_max {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::nests_deeper_than;

    #[test]
    fn counts_objects_and_arrays_but_not_brackets_in_strings() {
        for (text, depth) in [
            ("1", 0),
            ("{}", 1),
            ("[[],[]]", 2),
            (r#"{"a":[{"b":1}],"c":[]}"#, 3),
            (r#"{"a":"[[[[{{{{"}"#, 1),
            (r#"{"a":"\"[[\\","b":[1]}"#, 2),
            (r#"{"a":"\\\\","b":[[1]]}"#, 3),
        ] {
            assert!(!nests_deeper_than(text.as_bytes(), depth), "{text} is {depth} deep");
            if depth > 0 {
                assert!(nests_deeper_than(text.as_bytes(), depth - 1), "{text}");
            }
        }
    }
}
