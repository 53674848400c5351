//! When something happened.

use std::fmt;
use std::time::Duration;

use journal::Time;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Event time: microseconds since the Unix epoch, UTC. In JSON a decimal string.
///
/// Not to be confused with record time ([`Time`]), which says when a record was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything.
    pub const MAX: Self = Self(i64::MAX);

    /// The wall clock's time.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This much earlier. Of [`Self::MIN`] and [`Self::MAX`] nothing is taken.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        if self == Self::MAX { self } else { Self(self.0.saturating_sub(micros(duration))) }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl From<Time> for EventTime {
    fn from(time: Time) -> Self {
        // 2^64 nanoseconds are fewer microseconds than an i64 holds.
        Self(i64::try_from(time.0 / 1000).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 where the calendar reaches, otherwise the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.6}"),
            Err(_) => write!(f, "{} us", self.0),
        }
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = EventTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("microseconds since 1970 as a decimal string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<EventTime, E> {
        text.parse().map(EventTime).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_json_it_is_a_decimal_string() {
        let at = EventTime(1_767_225_600_000_001);
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"1767225600000001\"");
        assert_eq!(serde_json::from_str::<EventTime>("\"1767225600000001\"").unwrap(), at);
        assert_eq!(serde_json::from_str::<EventTime>("\"-5\"").unwrap(), EventTime(-5));
        for bad in ["5", "\"\"", "\"5.0\"", "\"x\"", "null", "\"99999999999999999999\""] {
            assert!(serde_json::from_str::<EventTime>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ends_stay_the_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(EventTime::MIN.minus(second), EventTime::MIN);
        assert_eq!(EventTime::MAX.minus(second), EventTime::MAX);
        assert_eq!(EventTime::MAX.plus(second), EventTime::MAX);
        assert_eq!(EventTime(3).minus(Duration::MAX), EventTime(3 - i64::MAX));
    }
}
