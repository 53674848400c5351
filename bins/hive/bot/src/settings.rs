//! What can be set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// The web site that posts are read at: what comes before `/@author/permlink`.
    #[schemars(with = "String")]
    pub(crate) frontend: Frontend,
}

impl Default for Settings {
    fn default() -> Self {
        let frontend = "https://peakd.com".to_owned().try_into().expect("this is a web site");
        Settings { frontend }
    }
}

/// The address of a web site, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Frontend(String);

impl Frontend {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Frontend {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let site = text.trim_end_matches('/');
        let host = site.strip_prefix("https://").or_else(|| site.strip_prefix("http://"));
        match host {
            Some(host)
                if !host.is_empty()
                    && !host.contains(|char: char| char.is_whitespace() || char.is_control()) =>
            {
                Ok(Frontend(site.to_owned()))
            }
            _ => Err(format!("{text:?} is no web site: it must look like https://peakd.com")),
        }
    }
}

impl From<Frontend> for String {
    fn from(frontend: Frontend) -> Self {
        frontend.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_end_is_a_web_site() {
        let read = |text: &str| Frontend::try_from(text.to_owned());
        assert_eq!(read("https://hive.blog//").unwrap().as_str(), "https://hive.blog");
        assert_eq!(read("http://localhost:8080/view").unwrap().as_str(), "http://localhost:8080/view");
        for bad in ["", "peakd.com", "https://", "ftp://peakd.com", "https://a b", "https://a\n"] {
            assert!(read(bad).unwrap_err().contains("no web site"), "{bad:?}");
        }
        assert_eq!(Settings::default().frontend.as_str(), "https://peakd.com");
    }
}
