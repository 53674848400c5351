//! What an instance keeps, and under which names: its files, and its checkpoints in its own journal.
//!
//! The list stands here once. The code that writes a file takes its name from here, and whoever goes through an instance's
//! folders asks here what a file is ([`purpose_of`]). What crate `journal` writes is in [`journal::FILES`].

use std::path::Path;

use journal::{FILES, FileKind, Purpose};

/// What a model has folded of inputs that their publishers may have dropped since.
pub(crate) const SNAPSHOT: FileKind = FileKind {
    folder: "",
    name: "*.snapshot",
    unfinished: Some("*.snapshot-new"),
    owner: "procession::ordering::snapshot",
    purpose: Purpose::Needed,
    holds: "the states of the model in its name, up to where they are final",
};

/// Written at each start of the model.
pub(crate) const MODEL: FileKind = FileKind {
    folder: "",
    name: "model.json",
    unfinished: Some("model.new"),
    owner: "procession::ordering::declare",
    purpose: Purpose::Replaceable,
    holds: "what the model hears and says, for others that look for circles",
};

/// Without it, more of what is done comes again: all that was not acknowledged in one batch with an output, as after the
/// loss of power. Its names are `SUBSCRIPTION@JOURNAL`.
pub(crate) const FINISHED: FileKind = FileKind {
    folder: "finished",
    name: "*@*",
    unfinished: None,
    owner: "procession::beyond",
    purpose: Purpose::Replaceable,
    holds: "which records behind the cursor are done, of those that may be acknowledged in any order",
};

/// For people, and for programs that show them how the instance is.
pub(crate) const LAST_DEATH: FileKind = FileKind {
    folder: "",
    name: "last-death",
    unfinished: Some("last-death.new"),
    owner: "procession::death",
    purpose: Purpose::Replaceable,
    holds: "what the process failed of last, and in which epoch",
};

/// By this a process that does not stay up is told from one that was started once.
pub(crate) const STARTS: FileKind = FileKind {
    folder: "",
    name: "starts",
    unfinished: Some("starts.new"),
    owner: "procession::starts",
    purpose: Purpose::Replaceable,
    holds: "when the last processes of the instance started",
};

/// Not in the state folder, but in that of the instance below the runtime root.
pub const SOCKET: FileKind = FileKind {
    folder: "",
    name: "socket",
    unfinished: None,
    owner: "procession::varlink::listener",
    purpose: Purpose::Running,
    holds: "the socket on which the process is asked and called",
};

const OWN: [FileKind; 5] = [SNAPSHOT, MODEL, FINISHED, LAST_DEATH, STARTS];

/// All files that an instance has in its state folder.
pub fn in_state() -> impl Iterator<Item = FileKind> {
    FILES.into_iter().chain(OWN)
}

/// All files that an instance has in its runtime folder.
pub fn in_runtime() -> impl Iterator<Item = FileKind> {
    [SOCKET].into_iter()
}

/// What a file of an instance's state folder is for, by its path from there on. None if it is not ours: whoever runs the
/// process may have put it there.
#[must_use]
pub fn purpose_of(below: &Path) -> Option<Purpose> {
    in_state().find_map(|kind| kind.purpose_of(below))
}

/// Checkpoints that a process keeps for itself in its journal, beside those of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointKind {
    /// What their names begin with.
    pub prefix: &'static str,
    /// The module that writes them.
    pub owner: &'static str,
    /// What they hold, in a few words.
    pub holds: &'static str,
}

impl CheckpointKind {
    /// Whether a checkpoint of this name is one of them.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name.starts_with(self.prefix)
    }
}

/// Of each subscription and journal, by number of the block.
pub(crate) const FINISHED_BLOCKS: CheckpointKind = CheckpointKind {
    prefix: "_finished/",
    owner: "procession::beyond",
    holds: "which records behind the cursor were acknowledged together with an output",
};

/// Of each subscription.
pub(crate) const PARKED_KEYS: CheckpointKind = CheckpointKind {
    prefix: "_parked/",
    owner: "procession::subscribe::keyed::parked",
    holds: "the keys whose events wait behind a dead letter",
};

/// The whole name: there is one of it.
pub(crate) const NO_LETTERS_BEFORE: CheckpointKind = CheckpointKind {
    prefix: "_letters/none-before",
    owner: "procession::letters::counting",
    holds: "the offset before which no dead letter is open",
};

/// Of each model.
pub(crate) const FINAL_TIMES: CheckpointKind = CheckpointKind {
    prefix: "_final/",
    owner: "procession::ordering::outbox",
    holds: "up to where everything is final of which the model has said only a part",
};

/// All checkpoints of the framework.
pub const CHECKPOINTS: [CheckpointKind; 4] = [FINISHED_BLOCKS, PARKED_KEYS, NO_LETTERS_BEFORE, FINAL_TIMES];

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of a module, from the folder of all crates on.
    fn sources(module: &str) -> Vec<std::path::PathBuf> {
        let (krate, path) = module.split_once("::").unwrap();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let stem = crates.join(krate).join("src").join(path.replace("::", "/"));
        vec![stem.with_extension("rs"), stem.join("mod.rs")]
    }

    #[test]
    fn every_owner_is_a_module() {
        let files = in_state().chain(in_runtime()).map(|kind| kind.owner);
        for owner in files.chain(CHECKPOINTS.map(|kind| kind.owner)) {
            assert!(sources(owner).iter().any(|path| path.is_file()), "{owner}");
        }
    }

    #[test]
    fn no_name_is_of_two_kinds() {
        for kind in in_state() {
            let parts = vec!["a"; kind.name.matches('*').count()];
            for path in [kind.path(Path::new(""), &parts), kind.unfinished_path(Path::new(""), &parts)] {
                let of: Vec<_> = in_state().filter(|other| other.purpose_of(&path).is_some()).collect();
                assert_eq!(of, [kind], "{}", path.display());
            }
        }
        assert_eq!(purpose_of(Path::new("notes.txt")), None);
    }
}
