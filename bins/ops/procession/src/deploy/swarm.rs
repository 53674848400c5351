//! The description of the swarm, `deploy/swarm.toml`: what it may say, and what is wrong with it.

use std::fmt::Write as _;
use std::num::NonZeroU8;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Linux allows 31 bytes for the name of a user, and `procession-` takes 11 of them.
const NAME_BYTES_MAX: usize = 20;
const DESCRIPTION_BYTES_MAX: usize = 120;

/// The group of all processes in production.
pub(crate) const GROUP: &str = "procession";
/// The group of people who only look.
pub(crate) const OPERATORS: &str = "procession-operators";

/// All processes, in the order in which the files list them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Swarm {
    #[serde(rename = "process", default)]
    pub(crate) processes: Vec<Process>,
}

/// One process. The head of `deploy/swarm.toml` says what each field means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) context: String,
    pub(crate) description: String,
    pub(crate) network: Network,
    #[serde(default)]
    pub(crate) memory: Memory,
    pub(crate) instances: Option<NonZeroU8>,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    #[serde(default)]
    pub(crate) credentials: Vec<String>,
}

/// What of the network a process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Network {
    /// Only the local sockets of other processes.
    Local,
    /// TCP, but nothing beyond this machine.
    Loopback,
    /// TCP to anywhere.
    Internet,
}

/// Limits, as systemd writes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub(crate) high: String,
    pub(crate) max: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self { high: "384M".to_owned(), max: "512M".to_owned() }
    }
}

fn yes() -> bool {
    true
}

impl Swarm {
    /// Reads the description.
    ///
    /// # Errors
    /// It isn't TOML, has an unknown field, or says something that can't be.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let swarm: Self = toml::from_str(text)?;
        ensure!(!swarm.processes.is_empty(), "it has no [[process]]");
        for (index, process) in swarm.processes.iter().enumerate() {
            process.check().with_context(|| format!("process `{}`", process.name.escape_debug()))?;
            let before = &swarm.processes[..index];
            ensure!(
                before.iter().all(|other| other.name != process.name),
                "there are two processes `{}`",
                process.name
            );
        }
        Ok(swarm)
    }
}

impl Process {
    /// The names of its instances: `bot`, or `worker@1` to `worker@3`.
    pub(crate) fn instances(&self) -> Vec<String> {
        match self.instances {
            None => vec![self.name.clone()],
            Some(count) => (1..=count.get()).map(|n| format!("{}@{n}", self.name)).collect(),
        }
    }

    /// The user that it runs as in production.
    pub(crate) fn user(&self) -> String {
        format!("{GROUP}-{}", self.name)
    }

    fn check(&self) -> Result<()> {
        check_name("name", &self.name)?;
        check_name("context", &self.context)?;
        check_line("description", &self.description)?;
        ensure!(
            self.user() != OPERATORS,
            "name {:?} is taken: {OPERATORS} is the group of people",
            self.name
        );
        for credential in &self.credentials {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            ensure!(
                !credential.is_empty() && credential.chars().all(plain),
                "credential {credential:?} is no plain file name"
            );
        }
        let (high, max) = (bytes(&self.memory.high)?, bytes(&self.memory.max)?);
        ensure!(high <= max, "memory: high ({}) is above max ({})", self.memory.high, self.memory.max);
        Ok(())
    }
}

/// The table of a new process, to be put at the end of the description.
pub(crate) fn entry(name: &str, context: &str, description: &str, network: Network) -> Result<String> {
    check_name("name", name)?;
    check_name("context", context)?;
    check_line("description", description)?;
    let mut text = String::from("\n[[process]]\n");
    for (key, value) in [("name", name), ("context", context), ("description", description)] {
        writeln!(text, "{key} = {}", quoted(value)?)?;
    }
    writeln!(text, "network = {}", serde_json::to_string(&network)?)?;
    Ok(text)
}

/// A quoted string that TOML, YAML and JSON read alike: what has no control characters is the same in
/// all three.
pub(crate) fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

/// # Errors
/// A process or a context can't be called so.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain),
        "{what} {name:?} must be lower-case letters, digits and `-`, a letter first"
    );
    ensure!(
        name.len() <= NAME_BYTES_MAX,
        "{what} {name:?} is longer than {NAME_BYTES_MAX} bytes: its user would have no valid name"
    );
    Ok(())
}

fn check_line(what: &str, line: &str) -> Result<()> {
    ensure!(!line.trim().is_empty(), "the {what} is empty");
    ensure!(line.len() <= DESCRIPTION_BYTES_MAX, "the {what} is longer than {DESCRIPTION_BYTES_MAX} bytes");
    ensure!(!line.contains(char::is_control), "the {what} must be one line without control characters");
    Ok(())
}

/// Reads a size such as `96M`.
fn bytes(size: &str) -> Result<u64> {
    let (digits, shift) = match size.as_bytes() {
        [.., b'K'] => (&size[..size.len() - 1], 10),
        [.., b'M'] => (&size[..size.len() - 1], 20),
        [.., b'G'] => (&size[..size.len() - 1], 30),
        _ => (size, 0),
    };
    match digits.parse::<u32>() {
        Ok(count) if count > 0 => Ok(u64::from(count) << shift),
        _ => bail!("memory size {size:?} must be a number with K, M or G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: &str =
        "[[process]]\nname = 'bot'\ncontext = 'hive'\ndescription = 'Prints'\nnetwork = 'local'\n";

    /// The error of a description made of the good process, with `more` at its end.
    fn error(more: &str) -> String {
        format!("{:#}", Swarm::parse(&format!("{BOT}{more}")).unwrap_err())
    }

    #[test]
    fn a_process_needs_little() {
        let swarm = Swarm::parse(BOT).unwrap();
        let [bot] = &swarm.processes[..] else { panic!("one process") };
        assert_eq!(bot.instances(), ["bot"]);
        assert_eq!(bot.user(), "procession-bot");
        assert!(bot.enabled && bot.credentials.is_empty());
    }

    #[test]
    fn instances_are_numbered() {
        let swarm = Swarm::parse(&format!("{BOT}instances = 3")).unwrap();
        assert_eq!(swarm.processes[0].instances(), ["bot@1", "bot@2", "bot@3"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, part) in [
            ("colour = 'red'", "unknown field `colour`"),
            ("instances = 0", "nonzero"),
            ("credentials = ['../x']", "no plain file name"),
            ("memory = { high = '2G', max = '1G' }", "above max"),
            ("memory = { high = 'lots', max = '1G' }", "\"lots\""),
            (BOT, "two processes `bot`"),
        ] {
            let error = error(more);
            assert!(error.contains(part), "{error}");
        }
        assert!(Swarm::parse("").is_err());
        let taken = Swarm::parse(&BOT.replace("'bot'", "'operators'")).unwrap_err();
        assert!(format!("{taken:#}").contains("group of people"), "{taken:#}");
        for name in ["Bot", "", "1bot", "a-name-beyond-twenty-bytes", "b:t"] {
            let text = BOT.replace("'bot'", &format!("'{name}'"));
            assert!(Swarm::parse(&text).is_err(), "{name}");
        }
    }

    #[test]
    fn a_new_entry_can_be_read_again() {
        let description = r#"Says "100 %" of C:\x – twice"#;
        let text = entry("shout", "hive", description, Network::Internet).unwrap();
        let swarm = Swarm::parse(&format!("{BOT}{text}")).unwrap();
        assert_eq!(swarm.processes[1].description, description);
        assert_eq!(swarm.processes[1].network, Network::Internet);
        assert!(entry("Shout", "hive", "x", Network::Local).is_err());
        assert!(entry("shout", "hive", "two\nlines", Network::Local).is_err());
    }
}
