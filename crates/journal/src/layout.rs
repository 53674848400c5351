//! Which files an instance has, where each lies in its folder, and what it is for.
//!
//! [`FILES`] lists what this crate writes there. Whoever keeps other files beside them lists those by the same
//! [`FileKind`], so that there is one answer to "what is this?", and no name is written twice.

use std::path::{Path, PathBuf};

/// What becomes of an instance without a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It holds what is nowhere else: a copy of the instance without it is none.
    Needed,
    /// The next process goes on without it and begins a new one. What is lost spares time or is for people to read: no
    /// record, and no acknowledgement.
    Replaceable,
    /// It is of use to the process that runs, and to those that look for that. Left behind by one that was killed, it says
    /// nothing, and the next one takes its place.
    Running,
}

/// Files of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// The folder that they lie in, within the instance's; empty for that one itself.
    pub folder: &'static str,
    /// Their name there. Each `*` stands for what differs from file to file.
    pub name: &'static str,
    /// The name under which each is written before it takes the place of an older one. A file that has this name is left
    /// over from a process that was killed.
    pub unfinished: Option<&'static str>,
    /// The module that writes them, from its crate on.
    pub owner: &'static str,
    /// What becomes of an instance without them.
    pub purpose: Purpose,
    /// What they hold, in a few words.
    pub holds: &'static str,
}

impl FileKind {
    /// The folder in which files of this kind lie.
    #[must_use]
    pub fn folder(&self, instance: &Path) -> PathBuf {
        if self.folder.is_empty() { instance.to_owned() } else { instance.join(self.folder) }
    }

    /// Where the file lies whose name has these parts at the places of `*`.
    #[must_use]
    pub fn path(&self, instance: &Path, parts: &[&str]) -> PathBuf {
        self.folder(instance).join(self.file_name(parts))
    }

    /// The name that has these parts at the places of `*`.
    #[must_use]
    pub fn file_name(&self, parts: &[&str]) -> String {
        fill(self.name, parts)
    }

    /// Where that file is written until it is whole; its own place, if it is written there.
    #[must_use]
    pub fn unfinished_path(&self, instance: &Path, parts: &[&str]) -> PathBuf {
        self.folder(instance).join(fill(self.unfinished.unwrap_or(self.name), parts))
    }

    /// What a file's name has at the places of `*`. None if it is the name of another kind.
    #[must_use]
    pub fn parts<'a>(&self, name: &'a str) -> Option<Vec<&'a str>> {
        parts(self.name, name)
    }

    /// What a file that lies at `below`, from the instance's folder on, is for. None if it is of another kind.
    #[must_use]
    pub fn purpose_of(&self, below: &Path) -> Option<Purpose> {
        let name = below.strip_prefix(self.folder).ok()?.to_str().filter(|name| !name.contains('/'))?;
        if self.unfinished.is_some_and(|unfinished| parts(unfinished, name).is_some()) {
            return Some(Purpose::Running);
        }
        self.parts(name).map(|_| self.purpose)
    }
}

fn fill(pattern: &str, parts: &[&str]) -> String {
    let mut texts = pattern.split('*');
    let mut name = texts.next().unwrap_or_default().to_owned();
    for (part, text) in parts.iter().zip(texts) {
        name += part;
        name += text;
    }
    debug_assert_eq!(pattern.matches('*').count(), parts.len(), "a part of {pattern} for each place");
    name
}

fn parts<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let Some((first, mut texts)) = pattern.split_once('*') else { return (name == pattern).then(Vec::new) };
    let (mut rest, mut parts) = (name.strip_prefix(first)?, Vec::new());
    while let Some((text, others)) = texts.split_once('*') {
        let (part, behind) = rest.split_once(text)?;
        parts.push(part);
        (texts, rest) = (others, behind);
    }
    parts.push(rest.strip_suffix(texts)?);
    Some(parts)
}

/// The folder of a journal within its instance's.
const JOURNAL: &str = "journal";

/// Whoever has locked it is the only writer.
pub(crate) const LOCK: FileKind = FileKind {
    folder: "",
    name: "lock",
    unfinished: None,
    owner: "journal::lock",
    purpose: Purpose::Running,
    holds: "the lock that makes a process the only writer",
};

/// Whether the writer lives, for others than its user.
pub(crate) const ALIVE: FileKind = FileKind {
    folder: "",
    name: "alive",
    unfinished: None,
    owner: "journal::lock",
    purpose: Purpose::Running,
    holds: "who the writer is, and by its lock whether it lives",
};

/// Where subscriptions are.
pub(crate) const CURSORS: FileKind = FileKind {
    folder: "",
    name: "cursors",
    unfinished: None,
    owner: "journal::cursors",
    purpose: Purpose::Needed,
    holds: "how far each subscription has acknowledged other journals",
};

/// Without it, each subscription that is not there is given a whole lease once more.
pub(crate) const LEASES: FileKind = FileKind {
    folder: "",
    name: "leases",
    unfinished: Some("leases.tmp"),
    owner: "journal::leases",
    purpose: Purpose::Replaceable,
    holds: "for how long subscriptions to the journal have not been seen",
};

/// Without it, segments are kept for longer.
pub(crate) const AGES: FileKind = FileKind {
    folder: "",
    name: "ages",
    unfinished: Some("ages.tmp"),
    owner: "journal::ages",
    purpose: Purpose::Replaceable,
    holds: "how old the journal's segments are",
};

/// Without them nobody can tell a record that the disk has lost from one that was never said.
pub(crate) const MARKS: FileKind = FileKind {
    folder: JOURNAL,
    name: "marks",
    unfinished: None,
    owner: "journal::marks",
    purpose: Purpose::Needed,
    holds: "what is committed, durable and trimmed, and the newest epoch",
};

/// The journal itself.
pub(crate) const SEGMENT: FileKind = FileKind {
    folder: JOURNAL,
    name: "*.seg",
    unfinished: None,
    owner: "journal::segment",
    purpose: Purpose::Needed,
    holds: "records, from the offset in its name on",
};

/// A segment that is ready for the writer.
pub(crate) const NEXT: FileKind = FileKind {
    folder: JOURNAL,
    name: "next.tmp",
    unfinished: None,
    owner: "journal::prepare",
    purpose: Purpose::Running,
    holds: "the segment after the one that is being written, made ready",
};

/// A segment that the writer has taken and not yet begun.
pub(crate) const TAKEN: FileKind = FileKind {
    folder: JOURNAL,
    name: "taken.tmp",
    unfinished: None,
    owner: "journal::prepare",
    purpose: Purpose::Running,
    holds: "the segment that the writer is about to begin",
};

/// All files that this crate gives a name in an instance's folder.
pub const FILES: [FileKind; 9] = [LOCK, ALIVE, CURSORS, LEASES, AGES, MARKS, SEGMENT, NEXT, TAKEN];

/// The folder of segments and marks.
#[must_use]
pub fn journal_folder(instance: &Path) -> PathBuf {
    instance.join(JOURNAL)
}

/// The marks of the journal: committed, durable, trimmed.
#[must_use]
pub fn marks_path(instance: &Path) -> PathBuf {
    MARKS.path(instance, &[])
}

/// The file whose kernel lock makes a process the only writer.
#[must_use]
pub fn lock_path(instance: &Path) -> PathBuf {
    LOCK.path(instance, &[])
}

/// The file that shows whether the writer lives, and who it is.
pub(crate) fn alive_path(instance: &Path) -> PathBuf {
    ALIVE.path(instance, &[])
}

/// The table of the instance's cursors on other journals.
#[must_use]
pub fn cursors_path(instance: &Path) -> PathBuf {
    CURSORS.path(instance, &[])
}

/// The folder that holds the folders of all instances.
pub(crate) fn state_folder(instance: &Path) -> &Path {
    // A name alone has a parent without a name.
    instance.parent().filter(|state| !state.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_a_name_alone_lies_in_the_current_folder() {
        assert_eq!(state_folder(Path::new("pub")), Path::new("."));
        assert_eq!(state_folder(Path::new("state/pub")), Path::new("state"));
        assert_eq!(state_folder(Path::new("/pub")), Path::new("/"));
    }

    #[test]
    fn the_parts_of_a_name_are_found_again() {
        let two = FileKind { folder: "f", name: "*@*.x", unfinished: Some("*@*.x-new"), ..SEGMENT };
        let path = two.path(Path::new("pub"), &["sorted", "bot@2"]);
        assert_eq!(path, Path::new("pub/f/sorted@bot@2.x"));
        assert_eq!(two.parts("sorted@bot@2.x"), Some(vec!["sorted", "bot@2"]));
        for other in ["sorted.x", "sorted@bot", "@", ""] {
            assert_eq!(two.parts(other), None, "{other}");
        }
        let unfinished = two.unfinished_path(Path::new(""), &["a", "b"]);
        assert_eq!(unfinished, Path::new("f/a@b.x-new"));
        assert_eq!(two.purpose_of(&unfinished), Some(Purpose::Running));
        assert_eq!(two.purpose_of(Path::new("f/a@b.x")), Some(Purpose::Needed));
        for other in ["a@b.x", "f/g/a@b.x", "f", "f/a.x", ""] {
            assert_eq!(two.purpose_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn no_name_is_of_two_kinds() {
        for kind in FILES {
            let parts = vec!["0"; kind.name.matches('*').count()];
            for path in [kind.path(Path::new(""), &parts), kind.unfinished_path(Path::new(""), &parts)] {
                let of = FILES.iter().filter(|other| other.purpose_of(&path).is_some());
                assert_eq!(of.collect::<Vec<_>>(), [&kind], "{}", path.display());
            }
        }
    }
}
