//! What a subscription hears: `PROCESS/TOPIC`, either of them `*`.

use crate::names;

/// A pattern over processes and their topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    process: Pattern,
    topic: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Named(String),
}

impl Selector {
    /// Reads `PROCESS`, `PROCESS/TOPIC`, with `*` for either; without a topic `default` is meant, or all.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn parse(text: &str, default: Option<&str>) -> Result<Self, String> {
        let (process, topic) = match text.split_once('/') {
            Some((process, topic)) => (process, Some(topic)),
            None => (text, None),
        };
        if let (Some(topic), Some(default)) = (topic, default)
            && topic != default
        {
            return Err(format!("{text:?} names topic {topic:?}, but the event's topic is {default:?}"));
        }
        let process = match process {
            "*" => Pattern::Any,
            name => {
                Pattern::Named(names::Instance::new(name).map_err(|error| error.to_string())?.to_string())
            }
        };
        let topic = match topic.or(default) {
            None | Some("*") => Pattern::Any,
            Some(name) => {
                names::check_topic(name).map_err(|error| error.to_string())?;
                Pattern::Named(name.to_owned())
            }
        };
        Ok(Self { process, topic })
    }

    /// Whether an instance's journal is meant. A process's name stands for all of its instances; `*` for
    /// every instance but `own`, which would only hear itself.
    pub(crate) fn takes_instance(&self, instance: &str, own: &str) -> bool {
        match &self.process {
            Pattern::Any => instance != own,
            Pattern::Named(name) => {
                instance == name
                    || instance.strip_prefix(name.as_str()).is_some_and(|suffix| suffix.starts_with('@'))
            }
        }
    }

    /// Whether a topic is meant. `*` leaves out hidden topics, which begin with `_`.
    #[inline]
    pub(crate) fn takes_topic(&self, topic: &str) -> bool {
        match &self.topic {
            Pattern::Any => !topic.starts_with('_'),
            Pattern::Named(name) => topic == name,
        }
    }

    /// The name of the only process that is meant, if it is one.
    pub(crate) fn process(&self) -> Option<&str> {
        match &self.process {
            Pattern::Any => None,
            Pattern::Named(name) => Some(name),
        }
    }

    /// A name for a subscription with this selector: `broadcaster.comment`, `all.item-added`.
    pub(crate) fn default_name(&self) -> String {
        let word = |pattern: &Pattern| match pattern {
            Pattern::Any => "all".to_owned(),
            Pattern::Named(name) => name.replace(['/', '@'], "-").trim_start_matches('_').to_owned(),
        };
        format!("{}.{}", word(&self.process), word(&self.topic))
    }
}

/// `PROCESS/TOPIC` patterns that a subscription merges.
pub trait Sources {
    /// The patterns, as text.
    fn patterns(self) -> Vec<String>;
}

impl Sources for &str {
    fn patterns(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl Sources for String {
    fn patterns(self) -> Vec<String> {
        vec![self]
    }
}

impl Sources for Vec<String> {
    fn patterns(self) -> Vec<String> {
        self
    }
}

impl<const N: usize> Sources for [&str; N] {
    fn patterns(self) -> Vec<String> {
        self.map(str::to_owned).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_for_its_instances() {
        let selector = Selector::parse("worker/done", None).unwrap();
        for (instance, taken) in
            [("worker", true), ("worker@1", true), ("workers", false), ("worker-2", false)]
        {
            assert_eq!(selector.takes_instance(instance, "me"), taken, "{instance}");
        }
        assert!(!Selector::parse("worker@1", None).unwrap().takes_instance("worker@12", "me"));
    }

    #[test]
    fn wildcards_leave_out_what_is_hidden_and_oneself() {
        let selector = Selector::parse("*/*", None).unwrap();
        assert!(selector.takes_topic("vote") && !selector.takes_topic("_dead-letter"));
        assert!(selector.takes_instance("bot", "me") && !selector.takes_instance("me", "me"));
        assert!(Selector::parse("bot/_dead-letter", None).unwrap().takes_topic("_dead-letter"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "a/", "A/b", "a b/c", "../x", "a/b c"] {
            assert!(Selector::parse(text, None).is_err(), "{text:?}");
        }
        assert!(Selector::parse("broadcaster/vote", Some("comment")).is_err());
    }
}
