//! The folders of the application, and the instances that are found in them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use procession::folders::Folders;
use procession::names::Instance;

use crate::pattern::stands_for;
use crate::report::{Advise as _, failure};

/// The folders of an installation, in the order state, runtime, configuration: those that deploy/README.md gives.
pub(crate) const PRODUCTION: [&str; 3] = ["/var/lib/procession", "/run/procession", "/etc/procession"];

/// Where the instances of the application live.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) folders: Folders,
}

impl Home {
    /// By the environment and the current folder, as the processes find it.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self { folders: Folders::find(None)? })
    }

    /// The folder of an instance.
    pub(crate) fn folder(&self, instance: &Instance) -> PathBuf {
        self.folders.instance(instance)
    }

    /// Whether a writer has been in the instance's folder.
    pub(crate) fn has_journal(&self, instance: &Instance) -> bool {
        journal::marks_path(&self.folder(instance)).exists()
    }

    /// Whether a process has lived in the instance's folder, or has tried to. Otherwise somebody has only spoken in its name
    /// (`procession publish`), or the folder was made for one that has never run.
    pub(crate) fn has_lived(&self, instance: &Instance) -> bool {
        let folder = self.folder(instance);
        // What can't be seen may be there.
        let is_there = |path: PathBuf| path.try_exists().unwrap_or(true);
        is_there(journal::cursors_path(&folder)) || is_there(procession::Death::path(&folder))
    }

    /// What to do where no process has run.
    pub(crate) fn advice_for_none(&self) -> String {
        let [state, runtime, config] = PRODUCTION;
        if self.folders.state != Path::new(state) && Path::new(state).is_dir() {
            return format!(
                "for those that are installed on this machine: export PROCESSION_STATE={state} \
                 PROCESSION_RUNTIME={runtime} PROCESSION_CONFIG={config}"
            );
        }
        "start a process, go to the application's folder, or set PROCESSION_STATE and PROCESSION_RUNTIME"
            .to_owned()
    }

    /// Instances that have a folder in the state folder, by name. None if there is no such folder yet.
    pub(crate) fn instances(&self) -> Result<Vec<Instance>> {
        let state = &self.folders.state;
        let names = entries(state).advise(|| "set PROCESSION_STATE to the folder of the journals".into())?;
        let mut instances: Vec<_> = names
            .into_iter()
            .filter(|name| state.join(name).is_dir())
            .filter_map(|name| Instance::new(name).ok())
            .collect();
        instances.sort();
        Ok(instances)
    }

    /// Instances that have a socket in the runtime folder, by name; it may be a dead one.
    pub(crate) fn sockets(&self) -> Result<Vec<Instance>> {
        let names = entries(&self.folders.runtime)
            .advise(|| "set PROCESSION_RUNTIME to the folder of the sockets".into())?;
        // A folder that only its group may look into is as good as a socket: asking will tell.
        let has_socket = |instance: &Instance| {
            let found = self.folders.socket(instance).map(fs::symlink_metadata);
            !found.is_ok_and(|found| found.is_err_and(|error| error.kind() == ErrorKind::NotFound))
        };
        let instances = names.into_iter().filter_map(|name| Instance::new(name).ok());
        let mut instances: Vec<_> = instances.filter(has_socket).collect();
        instances.sort();
        Ok(instances)
    }

    /// Instances with a journal that the names stand for; all of them if no name is given.
    ///
    /// # Errors
    /// A name stands for none, or the state folder isn't there.
    pub(crate) fn named(&self, names: &[Instance]) -> Result<Vec<Instance>> {
        self.require_state()?;
        let mut instances = self.instances()?;
        instances.retain(|instance| self.has_journal(instance));
        if names.is_empty() {
            return Ok(instances);
        }
        for name in names {
            if !instances.iter().any(|instance| stands_for(name, instance)) {
                return Err(self.unknown(name, &instances));
            }
        }
        instances.retain(|instance| names.iter().any(|name| stands_for(name, instance)));
        Ok(instances)
    }

    /// The error for a name that stands for no journal.
    pub(crate) fn unknown(&self, name: &Instance, known: &[Instance]) -> anyhow::Error {
        let state = self.folders.state.display();
        let advice = if known.is_empty() {
            "start the process, or set PROCESSION_STATE to another folder".to_owned()
        } else {
            let known: Vec<_> = known.iter().map(Instance::as_str).collect();
            format!("one of {}; or another folder by PROCESSION_STATE", known.join(", "))
        };
        failure(format!("`{name}` has no journal in {state}: it has never run there"), advice)
    }

    /// # Errors
    /// There is no state folder: mostly the wrong current folder.
    pub(crate) fn require_state(&self) -> Result<()> {
        let state = &self.folders.state;
        if state.is_dir() {
            return Ok(());
        }
        let what = format!("there is no state folder {}: no process has run there", state.display());
        Err(failure(what, self.advice_for_none()))
    }
}

/// Names in a folder; none if it isn't there. Those that aren't UTF-8 are none of ours.
fn entries(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", folder.display())),
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}
