//! Which journals and topics are meant: `PROCESS/TOPIC`, either of them `*`.

use std::fmt;
use std::str::FromStr;

use procession::names::{self, Instance};

/// A pattern over processes and their topics. `*` leaves out hidden topics, which begin with `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// `None`: all.
    process: Option<Instance>,
    /// `None`: all that aren't hidden.
    topic: Option<String>,
}

impl Pattern {
    /// Whether an instance is meant: a process's name stands for all of its instances.
    pub(crate) fn takes_instance(&self, instance: &Instance) -> bool {
        self.process.as_ref().is_none_or(|name| stands_for(name, instance))
    }

    #[inline]
    pub(crate) fn takes_topic(&self, topic: &str) -> bool {
        match &self.topic {
            None => !topic.starts_with('_'),
            Some(name) => name == topic,
        }
    }

    /// The process or instance that it names.
    pub(crate) const fn process(&self) -> Option<&Instance> {
        self.process.as_ref()
    }

    /// The topic that it names.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }
}

/// Whether a name means an instance: its own, or that of its process.
pub(crate) fn stands_for(name: &Instance, instance: &Instance) -> bool {
    name == instance || name.as_str() == instance.process()
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (process, topic) = match text.split_once('/') {
            Some((process, topic)) => (process, Some(topic)),
            None => (text, None),
        };
        let words =
            |error: names::NameError| format!("{error}; the form is PROCESS/TOPIC, PROCESS/* or */TOPIC");
        let process = match process {
            "*" => None,
            name => Some(Instance::new(name).map_err(words)?),
        };
        let topic = match topic {
            None | Some("*") => None,
            Some(name) => {
                names::check_topic(name).map_err(words)?;
                Some(name.to_owned())
            }
        };
        Ok(Self { process, topic })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.process.as_ref().map_or("*", Instance::as_str);
        write!(f, "{process}/{}", self.topic.as_deref().unwrap_or("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_process_stands_for_its_instances() {
        let takes =
            |text: &str, instance: &str| pattern(text).takes_instance(&Instance::new(instance).unwrap());
        assert!(takes("worker/done", "worker") && takes("worker/done", "worker@1"));
        assert!(!takes("worker/done", "workers") && !takes("worker@1/done", "worker@12"));
        assert!(!takes("worker@1/done", "worker"));
        assert!(takes("*/done", "anything@7"));
    }

    #[test]
    fn hidden_topics_must_be_named() {
        for all in ["bot", "bot/*", "*", "*/*"] {
            assert!(pattern(all).takes_topic("vote") && !pattern(all).takes_topic("_dead-letter"), "{all}");
        }
        assert!(pattern("bot/_dead-letter").takes_topic("_dead-letter"));
        assert!(pattern("bot/a/b").takes_topic("a/b"));
    }

    #[test]
    fn nonsense_is_refused_with_the_form() {
        for text in ["", "/", "a/", "A/b", "a b/c", "../x", "a/b c", "a/**"] {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.contains("PROCESS/TOPIC"), "{error}");
        }
    }
}
