//! Which processes are meant: names, in which `*` stands for any letters.

use std::str::FromStr;

use procession::names::Instance;

/// A pattern over the names of processes and instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(String);

impl Names {
    /// Whether an instance is meant: by its own name, or by that of its process.
    pub(super) fn take(&self, instance: &Instance) -> bool {
        matches(&self.0, instance.as_str()) || matches(&self.0, instance.process())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A star may stand for a letter, and for the number of an instance.
        let letters = text.split_once('@').map_or_else(
            || text.replace('*', "x"),
            |(process, number)| format!("{}@{}", process.replace('*', "x"), number.replace('*', "1")),
        );
        match Instance::new(letters) {
            // Each star may double the work of comparing.
            Ok(_) if text.matches('*').count() <= 4 => Ok(Self(text.to_owned())),
            Ok(_) => Err("more than four stars".to_owned()),
            Err(_) => Err(format!("{text:?} is no name of processes; for example bot, worker@2 or work*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, instance: &str) -> bool {
        pattern.parse::<Names>().unwrap().take(&Instance::new(instance).unwrap())
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, instance) in [
            ("bot", "bot"),
            ("worker", "worker@2"),
            ("work*", "worker@2"),
            ("*", "bot"),
            ("w*@*", "worker@2"),
            ("*er", "worker@2"),
        ] {
            assert!(takes(pattern, instance), "{pattern} {instance}");
        }
        for (pattern, instance) in [
            ("bot", "bots"),
            ("worker@1", "worker@2"),
            ("worker@1", "worker"),
            ("*x", "bot"),
            ("b*t", "bots"),
        ] {
            assert!(!takes(pattern, instance), "{pattern} {instance}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "Bot", "a b", "../x", "a/b", "*****", "@1"] {
            assert!(text.parse::<Names>().is_err(), "{text}");
        }
    }
}
