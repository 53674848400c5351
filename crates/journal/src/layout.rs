//! Where an instance's files lie inside its folder.

use std::path::{Path, PathBuf};

/// The folder of segments and marks.
#[must_use]
pub fn journal_folder(instance: &Path) -> PathBuf {
    instance.join("journal")
}

/// The marks of the journal: committed, durable, trimmed.
#[must_use]
pub fn marks_path(instance: &Path) -> PathBuf {
    instance.join("journal").join("marks")
}

/// The file whose kernel lock makes a process the only writer.
#[must_use]
pub fn lock_path(instance: &Path) -> PathBuf {
    instance.join("lock")
}

/// The file that shows whether the writer lives, and who it is.
pub(crate) fn alive_path(instance: &Path) -> PathBuf {
    instance.join("alive")
}

/// How long subscriptions to the journal have not been seen.
pub(crate) fn leases_path(instance: &Path) -> PathBuf {
    instance.join("leases")
}

/// How old the journal's segments are.
pub(crate) fn ages_path(instance: &Path) -> PathBuf {
    instance.join("ages")
}

/// The folder that holds the folders of all instances.
pub(crate) fn state_folder(instance: &Path) -> &Path {
    // A name alone has a parent without a name.
    instance.parent().filter(|state| !state.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The table of the instance's cursors on other journals.
#[must_use]
pub fn cursors_path(instance: &Path) -> PathBuf {
    instance.join("cursors")
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
}
