//! Which names are valid, and why a given one isn't.
//!
//! Names become parts of paths, of environment variables, of Varlink messages and of journal
//! records, so they are plain: lower-case letters, digits, `-`, `_` and `.`, and never at the start
//! a character that a shell or a file system treats specially.

use std::fmt;
use std::str::FromStr;

/// Longest process name, in bytes. An instance's socket path must fit in 107 bytes.
pub const PROCESS_BYTES_MAX: usize = 64;
/// Longest instance suffix (what follows `@`), in bytes.
pub const SUFFIX_BYTES_MAX: usize = 32;
/// Longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 128;
/// Longest subscription name, in bytes.
pub const SUBSCRIPTION_BYTES_MAX: usize = 128;

/// What a model will read again after a restart is kept by a cursor with the model's name and this suffix, which no
/// subscription may have.
pub const REPLAY_SUFFIX: &str = ".replay";

/// Names that would clash with `procession.toml` itself or with its table `[process]`.
const RESERVED: [&str; 2] = ["process", "procession"];

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name `{}` {reason}", name.escape_debug())]
pub struct NameError {
    kind: &'static str,
    name: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Empty,
    TooLong { bytes: usize, bytes_max: usize },
    Character(char),
    FirstCharacter(char),
    Reserved,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Empty => f.write_str("is empty or has an empty part"),
            Reason::TooLong { bytes, bytes_max } => {
                write!(f, "has {bytes} bytes; at most {bytes_max} are allowed")
            }
            Reason::Character(c) => write!(f, "contains {c:?}; allowed are a-z, 0-9, `-`, `_` and `.`"),
            Reason::FirstCharacter(c) => {
                write!(f, "begins with {c:?}; it must begin with a-z or 0-9")
            }
            Reason::Reserved => f.write_str("is reserved for the framework"),
        }
    }
}

/// Checks a process's name: `[a-z0-9][a-z0-9-_.]*`, at most [`PROCESS_BYTES_MAX`] bytes, and neither
/// `process` nor `procession`.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_process(name: &str) -> Result<(), NameError> {
    let refuse = refusal("process", name);
    check_length(name, PROCESS_BYTES_MAX).map_err(refuse)?;
    check_word(name).map_err(refuse)?;
    if RESERVED.contains(&name) {
        return Err(refuse(Reason::Reserved));
    }
    Ok(())
}

/// Checks a topic: words of `[a-z0-9][a-z0-9-_.]*` joined by `/`, at most [`TOPIC_BYTES_MAX`] bytes.
/// A leading `_` marks a hidden topic, which `*` doesn't match.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let refuse = refusal("topic", name);
    check_length(name, TOPIC_BYTES_MAX).map_err(refuse)?;
    let visible = name.strip_prefix('_').unwrap_or(name);
    visible.split('/').try_for_each(check_word).map_err(refuse)
}

/// Checks a subscription's name: `[a-z0-9][a-z0-9-_.]*`, at most [`SUBSCRIPTION_BYTES_MAX`] bytes, and without
/// [`REPLAY_SUFFIX`].
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_subscription(name: &str) -> Result<(), NameError> {
    let refuse = refusal("subscription", name);
    check_length(name, SUBSCRIPTION_BYTES_MAX).map_err(refuse)?;
    check_word(name).map_err(refuse)?;
    if name.ends_with(REPLAY_SUFFIX) {
        return Err(refuse(Reason::Reserved));
    }
    Ok(())
}

fn refusal<'a>(kind: &'static str, name: &'a str) -> impl Fn(Reason) -> NameError + Copy + 'a {
    // A name may come from the network: an error message repeats only its beginning.
    let shown = name.char_indices().nth(PROCESS_BYTES_MAX + SUFFIX_BYTES_MAX);
    move |reason| NameError {
        kind,
        name: match shown {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.to_owned(),
        },
        reason,
    }
}

fn check_length(name: &str, bytes_max: usize) -> Result<(), Reason> {
    let bytes = name.len();
    if bytes > bytes_max {
        return Err(Reason::TooLong { bytes, bytes_max });
    }
    Ok(())
}

fn check_word(word: &str) -> Result<(), Reason> {
    let first = word.chars().next().ok_or(Reason::Empty)?;
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if let Some(c) = word.chars().find(|c| !allowed(*c)) {
        return Err(Reason::Character(c));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(Reason::FirstCharacter(first));
    }
    Ok(())
}

/// The name of one running copy of a process: `bot`, or `bot@2` where several run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(String);

impl Instance {
    /// Reads `name` or `name@suffix`. Name and suffix follow the rules of a process's name; the
    /// suffix has at most [`SUFFIX_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn new(name: impl Into<String>) -> Result<Instance, NameError> {
        let name = name.into();
        match name.split_once('@') {
            None => check_process(&name)?,
            Some((process, suffix)) => {
                check_process(process)?;
                let refuse = refusal("instance", &name);
                check_length(suffix, SUFFIX_BYTES_MAX).map_err(refuse)?;
                check_word(suffix).map_err(refuse)?;
            }
        }
        Ok(Instance(name))
    }

    /// The whole name: `bot@2`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its suffix: `bot`. Subscribers to `bot` read all instances of that name.
    #[must_use]
    pub fn process(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(name, _)| name)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Instance {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Instance, NameError> {
        Instance::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_valid_everywhere() {
        for name in ["bot", "transfer-watch", "a", "7up", "v1.2_x"] {
            assert_eq!(check_process(name), Ok(()));
            assert_eq!(check_topic(name), Ok(()));
            assert_eq!(check_subscription(name), Ok(()));
            assert_eq!(Instance::new(name).unwrap().process(), name);
        }
    }

    #[test]
    fn what_a_model_keeps_goes_by_a_name_of_its_own() {
        assert!(check_subscription("totals.replay").is_err());
        assert_eq!(check_subscription("replay"), Ok(()));
    }

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "-rf", "_a", "a b", "Bot", "bött", "a\n", "a\0"] {
            assert!(check_process(name).is_err(), "{name:?}");
            assert!(check_subscription(name).is_err(), "{name:?}");
            assert!(Instance::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_framework_keeps_its_own_names() {
        for name in ["process", "procession", "process@2"] {
            let error = Instance::new(name).unwrap_err().to_string();
            assert!(error.contains("reserved"), "{error}");
        }
    }

    #[test]
    fn an_instance_is_a_name_with_an_optional_suffix() {
        let instance = Instance::new("worker@2").unwrap();
        assert_eq!(instance.process(), "worker");
        assert_eq!(instance.to_string(), "worker@2");
        for name in ["worker@", "@2", "a@b@c", "worker@.."] {
            assert!(Instance::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn topics_have_words_and_may_be_hidden() {
        for name in ["comment", "_dead", "_telemetry/spans", "orders/new.v2"] {
            assert_eq!(check_topic(name), Ok(()), "{name:?}");
        }
        for name in ["", "_", "__x", "/a", "a/", "a//b", "a/../b", "*", "a/_b", "A"] {
            assert!(check_topic(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn lengths_are_bounded_and_named() {
        let longest = "a".repeat(PROCESS_BYTES_MAX);
        assert_eq!(check_process(&longest), Ok(()));
        let error = check_process(&format!("{longest}a")).unwrap_err().to_string();
        assert!(error.contains("65 bytes") && error.contains("at most 64"), "{error}");
        assert!(check_topic(&"a".repeat(TOPIC_BYTES_MAX + 1)).is_err());
        assert!(check_subscription(&"a".repeat(SUBSCRIPTION_BYTES_MAX + 1)).is_err());
        assert!(Instance::new(format!("w@{}", "1".repeat(SUFFIX_BYTES_MAX + 1))).is_err());
        assert!(check_topic(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 250);
    }

    #[test]
    fn errors_name_the_character_and_escape_it() {
        let error = check_process("a\u{1b}[31m").unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.contains("\\u{1b}"), "{error}");
    }
}
