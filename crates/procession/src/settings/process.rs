//! The framework's own settings: table `[process]` in the files, the same for every program.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::faults::FaultSettings;
use super::units::{Bytes, Grantee, Sync};
use crate::users::Directory;
use crate::varlink::{Allow, Rights};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How every process behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessSettings {
    /// How the journal is kept.
    pub journal: JournalSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Who may use the local socket, and how much.
    pub socket: SocketSettings,
    /// How deliveries are repeated.
    pub subscription: SubscriptionSettings,
    /// How calls are made and answered.
    pub calls: CallSettings,
    /// Time that the application has to finish what it has in hand when it is told to stop.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub shutdown_timeout: Duration,
}

impl Default for ProcessSettings {
    fn default() -> ProcessSettings {
        ProcessSettings {
            journal: JournalSettings::default(),
            log: LogSettings::default(),
            socket: SocketSettings::default(),
            subscription: SubscriptionSettings::default(),
            calls: CallSettings::default(),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// How the journal is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JournalSettings {
    /// When what was said is written through to the disk: never, every DURATION, always.
    ///
    /// What was published survives the death of any process in each case; this is about power loss.
    pub sync: Sync,
    /// Size of the largest segment files: a journal begins with small ones, which grow with its pace.
    pub segment_bytes: Bytes,
    /// Segments beyond this many bytes are dropped once every durable subscription has passed them.
    pub keep_bytes: Bytes,
    /// Most bytes that the journal may keep; none: as many as its age and readers ask for.
    pub max_bytes: Option<Bytes>,
    /// Segments older than this are dropped once every durable subscription has passed them; none:
    /// only size counts.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<Duration>,
    /// At the limit of bytes: drop the oldest segment (a reader behind gets a gap), or wait until the readers have passed
    /// it. Until then there is no room: what is said is refused, or waits where the program asks for that.
    pub when_full: WhenFull,
    /// A subscription that nobody reads, and that has not been seen for so long while this process ran, no longer
    /// holds data back.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lease: Duration,
}

impl Default for JournalSettings {
    fn default() -> JournalSettings {
        JournalSettings {
            sync: Sync::Every(Duration::from_secs(1)),
            segment_bytes: Bytes(64 << 20),
            keep_bytes: Bytes(1 << 30),
            max_bytes: None,
            max_age: None,
            when_full: WhenFull::DropOldest,
            lease: 7 * DAY,
        }
    }
}

/// What a journal at its limit of bytes does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Drops the oldest segment; whoever still needed it gets a gap. But not what a model in this process has said and no
    /// snapshot of it holds: without that it could not be started again.
    #[default]
    DropOldest,
    /// There is no room until the readers have passed the oldest segment. What is said is refused, or waits where the
    /// program asks for that.
    Wait,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogSettings {
    /// Least level that is logged: error, warn, info, debug or trace, also per module, as in
    /// "info,procession=debug".
    pub level: LogFilter,
    /// Form of the log: auto is human on a terminal, short lines under systemd, JSON otherwise.
    pub format: LogFormat,
}

/// Which events are logged, as `tracing_subscriber::EnvFilter` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct LogFilter(String);

impl LogFilter {
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter("info".to_owned())
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<LogFilter, String> {
        // A lone word that is no level counts as a target there, so that a slip of the pen would
        // switch logging off.
        let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let slip = text.split(',').any(|part| !part.contains(['=', '[']) && !is_level(part.trim()));
        if slip || EnvFilter::try_new(&text).is_err() {
            return Err(format!(
                "expected a level such as \"info\", or levels such as \"info,procession=debug\", \
                 found {text:?}"
            ));
        }
        Ok(LogFilter(text))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Human on a terminal, short lines with priorities under systemd, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Who may use the local socket, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SocketSettings {
    /// Who may look at the process and read its journal on the socket, beside root and its own user: users such as "alice"
    /// or 1001, groups such as "@men"; none: whoever can open the socket. Its files are for whoever their mode lets.
    pub allow_read: Option<Vec<Grantee>>,
    /// Who may say and acknowledge in the process's name, beside root and its own user.
    pub allow_publish: Vec<Grantee>,
    /// Who may stop it, decide about its dead letters and set faults, beside root and its own user.
    pub allow_control: Vec<Grantee>,
    /// Who may call what its application offers, beside root and its own user; none: the socket's group.
    pub allow_calls: Option<Vec<Grantee>>,
    /// Most connections at a time; one of eight is kept for root and its own user.
    pub connections_max: NonZeroU32,
    /// Most connections of one user at a time, beside root and its own user.
    pub connections_per_user: NonZeroU32,
    /// A connection without a call in progress is closed after so long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// A message that has begun must be complete within so long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub message_timeout: Duration,
}

impl Default for SocketSettings {
    fn default() -> SocketSettings {
        SocketSettings {
            allow_read: None,
            allow_publish: Vec::new(),
            allow_control: Vec::new(),
            allow_calls: None,
            connections_max: NonZeroU32::new(256).expect("not zero"),
            connections_per_user: NonZeroU32::new(64).expect("not zero"),
            idle_timeout: 5 * MINUTE,
            message_timeout: Duration::from_secs(10),
        }
    }
}

impl SocketSettings {
    /// Who may do what. A name that this machine doesn't have (yet) is nobody's, and is no reason not to start.
    pub(crate) fn rights(&self) -> Rights {
        let listed = |grantees: &[Grantee]| match grantees {
            [] => Allow::Owner,
            grantees => Allow::Listed(grantees.to_vec()),
        };
        let unless_listed = |grantees: &Option<Vec<Grantee>>, default: Allow| {
            grantees.as_ref().map_or(default, |grantees| listed(grantees))
        };
        Rights {
            read: unless_listed(&self.allow_read, Allow::Everybody),
            publish: listed(&self.allow_publish),
            control: listed(&self.allow_control),
            call: unless_listed(&self.allow_calls, Allow::Group),
        }
    }

    /// The keys that name users or groups which this machine doesn't have, with what they name.
    pub(crate) fn unknown(&self) -> Vec<(&'static str, &Grantee)> {
        let lists = [
            ("allow_read", self.allow_read.as_deref().unwrap_or_default()),
            ("allow_publish", &self.allow_publish),
            ("allow_control", &self.allow_control),
            ("allow_calls", self.allow_calls.as_deref().unwrap_or_default()),
        ];
        let mut directory = Directory::default();
        let all = lists.into_iter().flat_map(|(key, list)| list.iter().map(move |grantee| (key, grantee)));
        all.filter(|(_, grantee)| !directory.knows(grantee)).collect()
    }
}

/// How deliveries are repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SubscriptionSettings {
    /// Deliveries of one event before it is parked in the dead-letter topic.
    pub max_attempts: NonZeroU32,
    /// Pause before the second delivery of an event; it doubles with each further one.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backoff: Duration,
    /// Longest such pause.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backoff_max: Duration,
    /// Faults on purpose, for tests.
    pub faults: FaultSettings,
}

impl Default for SubscriptionSettings {
    fn default() -> SubscriptionSettings {
        SubscriptionSettings {
            max_attempts: NonZeroU32::new(5).expect("not zero"),
            backoff: Duration::from_secs(1),
            backoff_max: MINUTE,
            faults: FaultSettings::default(),
        }
    }
}

/// How calls are made and answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CallSettings {
    /// A call that this process makes must be answered within so long, unless the application says otherwise.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// For so long a call tries to reach a process that isn't there: it may be about to start again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// Most calls of one interface that this process works on at a time. At most half of them are of one user, unless that is
    /// root or the process's own.
    pub concurrency: NonZeroU32,
    /// Most calls of one interface that wait for their turn, of one user again about half; whoever comes then is told that
    /// it is busy.
    pub queue: u32,
}

impl Default for CallSettings {
    fn default() -> CallSettings {
        CallSettings {
            timeout: Duration::from_secs(5),
            patience: Duration::from_secs(1),
            concurrency: NonZeroU32::new(32).expect("not zero"),
            queue: 128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels() {
        for text in ["info", "off", "WARN", "info,procession=debug", "warn,journal::writer=trace"] {
            LogFilter::try_from(text.to_owned()).unwrap();
        }
        for text in ["loud", "debg", "", "info,loud", "procession=loud"] {
            assert!(LogFilter::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_defaults_read_back_as_themselves() {
        let text = serde_json::to_string(&ProcessSettings::default()).unwrap();
        assert_eq!(serde_json::from_str::<ProcessSettings>(&text).unwrap(), ProcessSettings::default());
    }
}
