//! What is wrong with a configuration, and where it was said.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Option<Origin>,
    key: String,
    message: String,
}

impl Problem {
    pub(super) fn new(origin: Option<Origin>, key: &str, message: impl Into<String>) -> Problem {
        Problem { origin, key: key.to_owned(), message: message.into() }
    }

    /// Where the mistake is; `None` when it isn't in any one place (a missing value, say).
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The key, as written in a file: `journal.sync`. Empty when the whole file is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        // A variable or a flag is the key; a file has many.
        let named = matches!(self.origin, Some(Origin::Variable(_) | Origin::Flag(_)));
        if !named && !self.key.is_empty() {
            write!(f, "key `{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The configuration can't be used. A restart doesn't help; exit code 78 (2 when only flags are
/// wrong).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationError {
    problems: Vec<Problem>,
}

impl ConfigurationError {
    /// An error about one key of the application's own settings, found by the application itself.
    #[must_use]
    pub fn setting(key: &str, message: impl Into<String>) -> ConfigurationError {
        Problem::new(None, key, message).into()
    }

    pub(super) fn new(problems: Vec<Problem>) -> ConfigurationError {
        debug_assert!(!problems.is_empty(), "an error says at least one thing");
        ConfigurationError { problems }
    }

    /// All that is wrong, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether all of it was said on the command line.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        let flag = |problem: &Problem| matches!(problem.origin, Some(Origin::Flag(_)));
        self.problems.iter().all(flag)
    }
}

impl From<Problem> for ConfigurationError {
    fn from(problem: Problem) -> ConfigurationError {
        ConfigurationError::new(vec![problem])
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigurationError {}
