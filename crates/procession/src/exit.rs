//! How a program ends: exit codes, and errors in words for people.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::folders::FolderError;
use crate::settings::ConfigurationError;

/// The exit codes that every program of an application shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: everything was done.
    Done,
    /// 1: it failed; a restart may help. A panic also ends with this code.
    Failed,
    /// 2: the command line was wrong.
    Usage,
    /// 75: it runs, and can't do its work for now; a restart doesn't help. Nothing ends with this code: `procession
    /// health` says it of a process.
    Waiting,
    /// 78: the configuration was wrong; a restart doesn't help.
    Configuration,
}

impl Exit {
    /// The code itself.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Waiting => 75,
            Exit::Configuration => 78,
        }
    }

    /// The code that an error calls for: that of the first error in its chain of causes that has a
    /// code of its own, otherwise [`Exit::Failed`].
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Exit {
        chain(error).find_map(own_code).unwrap_or(Exit::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

fn own_code(error: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<ConfigurationError>() {
        return Some(if error.is_usage() { Exit::Usage } else { Exit::Configuration });
    }
    let error = error.downcast_ref::<FolderError>()?;
    Some(if error.is_configuration() { Exit::Configuration } else { Exit::Failed })
}

fn own_hint(error: &(dyn Error + 'static)) -> Option<String> {
    let of_journal = || match error.downcast_ref()? {
        crate::Error::Journal(error) => Some(error),
        _ => None,
    };
    if let Some(journal::Error::Locked { path, .. }) = error.downcast_ref().or_else(of_journal) {
        // A supervisor that was killed leaves its processes, which nobody stops then.
        let instance = path.parent()?.file_name()?.display();
        return Some(format!(
            "`procession call {instance} Stop` stops it, also where it has lost its supervisor"
        ));
    }
    error.downcast_ref::<FolderError>().and_then(FolderError::hint)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// An error with its causes and, where it is known, what to do about it, for people:
///
/// ```text
/// error: the state folder `/srv/bot` can't be created
///   caused by: Permission denied (os error 13)
///   try: let this user write there, or set PROCESSION_STATE to a folder where it may
/// ```
pub struct Report<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report(error) = *self;
        let mut said = error.to_string();
        let mut lines = said.lines();
        write!(f, "error: {}", Plain(lines.next().unwrap_or_default()))?;
        for line in lines {
            write!(f, "\n  {}", Plain(line))?;
        }
        for cause in chain(error).skip(1) {
            let text = cause.to_string();
            // Some errors already repeat their cause in their own words.
            if !said.contains(&text) {
                write!(f, "\n  caused by: {}", Plain(&text))?;
            }
            said = text;
        }
        match chain(error).find_map(own_hint) {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

/// Text as one line that no terminal obeys: some of it may be what another user's process has said.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(is_unsafe) {
            let text = part.trim_end_matches(is_unsafe);
            f.write_str(text)?;
            part[text.len()..].chars().try_for_each(|char| write!(f, "{}", char.escape_default()))?;
        }
        Ok(())
    }
}

/// Whether a terminal would obey it: control characters, and those that turn the direction of what follows.
#[must_use]
pub fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't start")]
    struct Outer(#[source] FolderError);

    #[derive(Debug, thiserror::Error)]
    #[error("sending failed: {0}")]
    struct Repeating(#[source] io::Error);

    fn too_long() -> FolderError {
        FolderError::SocketPathTooLong { path: PathBuf::from("/x"), bytes: 200 }
    }

    #[test]
    fn what_somebody_else_has_said_moves_no_terminal() {
        let hostile = Repeating(io::Error::other("x\u{1b}]0;y\u{7}\u{9b}31m\u{202e}z"));
        let said = Report(&hostile).to_string();
        assert_eq!(said, "error: sending failed: x\\u{1b}]0;y\\u{7}\\u{9b}31m\\u{202e}z");
        #[derive(Debug, thiserror::Error)]
        #[error("can't")]
        struct Hiding(#[source] io::Error);
        let forged = Hiding(io::Error::other("x\nbot: sound"));
        assert_eq!(Report(&forged).to_string(), "error: can't\n  caused by: x\\nbot: sound");
    }

    #[test]
    fn the_first_error_in_the_chain_with_a_code_decides() {
        assert_eq!(Exit::of(&Outer(too_long())), Exit::Configuration);
        assert_eq!(Exit::of(&io::Error::other("x")), Exit::Failed);
        let mistake = ConfigurationError::setting("nodes", "needs one node at least");
        assert_eq!(Exit::of(&mistake).code(), 78);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let folder = crate::folders::Folder::State;
        let create = FolderError::Create { folder, path: PathBuf::new(), source: full };
        assert_eq!(Exit::of(&create), Exit::Failed);
    }

    #[test]
    fn a_report_has_causes_and_advice() {
        let report = Report(&Outer(too_long())).to_string();
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], "error: can't start");
        assert!(lines[1].starts_with("  caused by: the socket path"), "{report}");
        assert!(lines[2].starts_with("  try: set PROCESSION_RUNTIME"), "{report}");
    }

    #[test]
    fn a_report_says_nothing_twice() {
        let report = Report(&Repeating(io::Error::other("broken pipe"))).to_string();
        assert_eq!(report, "error: sending failed: broken pipe");
    }
}
