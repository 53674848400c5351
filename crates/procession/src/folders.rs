//! Where a process keeps its state, its socket and its configuration.
//!
//! An instance owns one folder below the state root, and one below the runtime root, with its socket in it: whoever could
//! make a socket of that name could answer in its place. Both belong to the user that the process runs as, which is how
//! its callers know it ([`Endpoint`]).
//!
//! Each folder is looked for in this order: the variable `PROCESSION_STATE`, `PROCESSION_RUNTIME` or
//! `PROCESSION_CONFIG`; systemd's `STATE_DIRECTORY`, `RUNTIME_DIRECTORY` or
//! `CONFIGURATION_DIRECTORY`; and, in development, `.procession/state`, `.procession/run` and the
//! folder itself beside the nearest `process-compose.yaml` upward from the current folder (the
//! current folder where there is none). An empty variable counts as not set.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType, Mode, OFlags, access, fstat, open};
use rustix::process::geteuid;

use crate::files::SOCKET;
use crate::names::Instance;
use crate::users;
use crate::varlink::Endpoint;

/// Longest path of a local socket, in bytes: `sun_path` has 108 with the terminating NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The file beside which development keeps `.procession/`.
const COMPOSE_FILE: &str = "process-compose.yaml";
const STATE_MODE: u32 = 0o750;
/// With the sticky bit: who may make a folder here may not exchange another's.
const RUNTIME_MODE: u32 = 0o1770;
const SOCKET_FOLDER_MODE: u32 = 0o750;
const READABLE_BY_OTHERS: u32 = 0o004;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The roots under which the processes of one application live. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Root of the state: each instance owns one folder in it.
    pub state: PathBuf,
    /// Root of what needn't survive a reboot: each instance owns one folder in it, with its socket.
    pub runtime: PathBuf,
    /// Where `procession.toml` and `NAME.toml` are looked for.
    pub config: PathBuf,
    /// Where secrets are looked for: systemd's `CREDENTIALS_DIRECTORY`, otherwise `credentials` in
    /// the configuration folder.
    pub credentials: PathBuf,
}

impl Folders {
    /// Finds the folders by the environment and the current folder. `instance` is needed to
    /// recognise the per-unit folders that systemd may give (`/var/lib/procession/bot` and `/run/procession/bot` for
    /// `bot`, whose roots are `/var/lib/procession` and `/run/procession`).
    ///
    /// # Errors
    /// The current folder can't be determined.
    pub fn find(instance: Option<&Instance>) -> Result<Folders, FolderError> {
        let current = env::current_dir().map_err(FolderError::Current)?;
        Ok(Folders::resolve(&|name| env::var_os(name), &current, instance))
    }

    fn resolve(
        variable: &dyn Fn(&str) -> Option<OsString>,
        current: &Path,
        instance: Option<&Instance>,
    ) -> Folders {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let given = |own, systemd| {
            set(own)
                .map(|path| current.join(path))
                .or_else(|| set(systemd).map(|list| unit_root(&list, instance)))
        };
        let development = development_folder(current);
        let config =
            given("PROCESSION_CONFIG", "CONFIGURATION_DIRECTORY").unwrap_or_else(|| development.to_owned());
        Folders {
            state: given("PROCESSION_STATE", "STATE_DIRECTORY")
                .unwrap_or_else(|| development.join(".procession/state")),
            runtime: given("PROCESSION_RUNTIME", "RUNTIME_DIRECTORY")
                .unwrap_or_else(|| development.join(".procession/run")),
            credentials: set("CREDENTIALS_DIRECTORY")
                .map_or_else(|| config.join("credentials"), |path| current.join(path)),
            config,
        }
    }

    /// The folder that an instance owns: its lock, journal and cursors.
    #[must_use]
    pub fn instance(&self, instance: &Instance) -> PathBuf {
        self.state.join(instance.as_str())
    }

    /// The folder with an instance's local socket.
    #[must_use]
    pub fn socket_folder(&self, instance: &Instance) -> PathBuf {
        self.runtime.join(instance.as_str())
    }

    /// The path of an instance's local socket.
    ///
    /// # Errors
    /// [`FolderError::SocketPathTooLong`] beyond [`SOCKET_PATH_BYTES_MAX`].
    pub fn socket(&self, instance: &Instance) -> Result<PathBuf, FolderError> {
        let path = SOCKET.path(&self.socket_folder(instance), &[]);
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(FolderError::SocketPathTooLong { path, bytes });
        }
        Ok(path)
    }

    /// Where an instance is called, and by what its callers know that it is it. Connecting fails where the path is too
    /// long.
    #[must_use]
    pub fn endpoint(&self, instance: &Instance) -> Endpoint {
        Endpoint::new(SOCKET.path(&self.socket_folder(instance), &[]), self.instance(instance))
    }

    /// Creates what the instance owns, unless it is there: its state folder (mode 0750) and the folder of its socket
    /// (0750, in a runtime root of 1770), all less the umask. Checks that this process may write in both, that
    /// both are its user's, and that nobody else may put a socket beside its own.
    ///
    /// # Errors
    /// A folder can't be made, isn't a folder, may not be written, or is not this user's alone.
    pub fn create(&self, instance: &Instance) -> Result<(), FolderError> {
        let state = self.instance(instance);
        make(Folder::State, &state, STATE_MODE)?;
        let found = fs::metadata(&state).map_err(|source| unusable(Folder::State, &state, source))?;
        check_owner(Folder::State, &state, found.is_dir(), found.uid())?;
        check_writable(Folder::State, &state)?;
        own_socket_folder(&self.socket_folder(instance)).map(drop)
    }

    /// Reads the secret called `name` from the credentials folder; `None` if there is none. One
    /// newline at the end is dropped.
    ///
    /// # Errors
    /// The name is no plain file name, the file can't be read, isn't UTF-8, or any user may read it.
    pub fn credential(&self, name: &str) -> Result<Option<Credential>, FolderError> {
        let path = self.credentials.join(name);
        let plain = Path::new(name).file_name() == Some(OsStr::new(name));
        let failed = |reason| FolderError::Credential { path: path.clone(), reason };
        if !plain {
            return Err(failed(CredentialProblem::Name));
        }
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(CredentialProblem::Io(error))),
            Ok(data) if data.mode() & READABLE_BY_OTHERS != 0 => {
                return Err(failed(CredentialProblem::ReadableByOthers(data.mode() & 0o777)));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path).map_err(|e| failed(CredentialProblem::Io(e)))?;
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Some(Credential(secret.to_owned())))
    }
}

/// systemd gives a list of folders, perhaps one per unit. The root of ours is its parent.
fn unit_root(list: &OsStr, instance: Option<&Instance>) -> PathBuf {
    let paths: Vec<PathBuf> = env::split_paths(list).collect();
    let own = instance.and_then(|instance| {
        let name = OsStr::new(instance.as_str());
        let path = paths.iter().find(|path| path.file_name() == Some(name))?;
        path.parent().map(Path::to_owned)
    });
    own.or_else(|| paths.first().cloned()).unwrap_or_default()
}

fn development_folder(current: &Path) -> &Path {
    let mut upward = current.ancestors();
    upward.find(|folder| folder.join(COMPOSE_FILE).is_file()).unwrap_or(current)
}

/// The folder of a socket, made unless it is there, once it is sure that it is this user's alone. Whoever goes on by
/// the descriptor is in that folder, whatever lies at the path meanwhile.
pub(crate) fn own_socket_folder(path: &Path) -> Result<OwnedFd, FolderError> {
    let failed = |source: io::Error| unusable(Folder::Runtime, path, source);
    if fs::symlink_metadata(path).is_err()
        && let Some(root) = path.parent()
    {
        make(Folder::Runtime, root, RUNTIME_MODE)?;
    }
    make(Folder::Runtime, path, SOCKET_FOLDER_MODE)?;
    // Not through a link: what it leads to may be exchanged by whoever owns the link.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let found = fstat(&folder).map_err(|error| failed(error.into()))?;
    let is_folder = FileType::from_raw_mode(found.st_mode).is_dir();
    check_owner(Folder::Runtime, path, is_folder, found.st_uid)?;
    let mode = found.st_mode & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(FolderError::WritableByOthers { path: path.to_owned(), mode });
    }
    check_writable(Folder::Runtime, path)?;
    Ok(folder)
}

fn check_writable(folder: Folder, path: &Path) -> Result<(), FolderError> {
    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| FolderError::NotWritable {
        folder,
        path: path.to_owned(),
        source: error.into(),
    })
}

fn make(folder: Folder, path: &Path, mode: u32) -> Result<(), FolderError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| unusable(folder, path, source))
}

/// Whether what was found is a folder of this user's.
fn check_owner(folder: Folder, path: &Path, is_folder: bool, owner: u32) -> Result<(), FolderError> {
    if !is_folder {
        return Err(unusable(folder, path, ErrorKind::NotADirectory.into()));
    }
    let user = geteuid().as_raw();
    if owner != user {
        return Err(FolderError::Foreign { folder, path: path.to_owned(), owner, user });
    }
    Ok(())
}

fn unusable(folder: Folder, path: &Path, source: io::Error) -> FolderError {
    FolderError::Create { folder, path: path.to_owned(), source }
}

/// A secret. Its `Debug` form doesn't show it.
pub struct Credential(String);

impl Credential {
    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Which of the two folders that a process writes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// The instance's state folder.
    State,
    /// The runtime folder with the socket.
    Runtime,
}

impl Folder {
    /// The variable that moves it.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Folder::State => "PROCESSION_STATE",
            Folder::Runtime => "PROCESSION_RUNTIME",
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Folder::State => "state folder",
            Folder::Runtime => "runtime folder",
        })
    }
}

/// What is wrong with a folder or with what lies in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is no current folder, for example because it was deleted.
    #[error("the current folder can't be determined")]
    Current(#[source] io::Error),
    /// The folder isn't there and can't be made.
    #[error("the {folder} `{}` can't be created", path.display())]
    Create {
        /// Which one.
        folder: Folder,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is there, and this process may not write in it.
    #[error("the {folder} `{}` can't be written in", path.display())]
    NotWritable {
        /// Which one.
        folder: Folder,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is another user's. Callers compare its owner with whoever answers.
    #[error(
        "the {folder} `{}` belongs to user {}, and this process runs as {}: nobody would take it for the owner",
        path.display(), users::called(*owner), users::called(*user)
    )]
    Foreign {
        /// Which one.
        folder: Folder,
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        user: u32,
    },
    /// Others may put a socket of theirs in the place of the process's own.
    #[error(
        "others may write in the runtime folder `{}` (mode {mode:04o}), and so answer in this process's place",
        path.display()
    )]
    WritableByOthers {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A local socket can't have such a long path.
    #[error(
        "the socket path `{}` has {bytes} bytes; the limit is {SOCKET_PATH_BYTES_MAX}",
        path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A secret can't be used.
    #[error("the credential `{}` can't be used", path.display())]
    Credential {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        reason: CredentialProblem,
    },
}

impl FolderError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            FolderError::Current(_) => Some("start in a folder that exists".to_owned()),
            FolderError::Create { folder, .. } | FolderError::NotWritable { folder, .. } => Some(format!(
                "let this user write there, or set {} to a folder where it may",
                folder.variable()
            )),
            FolderError::Foreign { path, owner, .. } => Some(format!(
                "run it as user {}, or change the owner of {}",
                users::called(*owner),
                path.display()
            )),
            FolderError::WritableByOthers { path, .. } => Some(format!("chmod go-w {}", path.display())),
            FolderError::SocketPathTooLong { .. } => {
                Some("set PROCESSION_RUNTIME to a folder with a shorter path".to_owned())
            }
            FolderError::Credential { path, reason } => match reason {
                CredentialProblem::ReadableByOthers(_) => Some(format!("chmod 0600 {}", path.display())),
                _ => None,
            },
        }
    }

    /// Whether only a change of the set-up helps (a full disk, say, may pass by itself).
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            FolderError::Current(source)
            | FolderError::Create { source, .. }
            | FolderError::NotWritable { source, .. } => matches!(
                source.kind(),
                ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::NotADirectory
                    | ErrorKind::AlreadyExists
                    | ErrorKind::NotFound
                    | ErrorKind::InvalidFilename
            ),
            FolderError::Foreign { .. }
            | FolderError::WritableByOthers { .. }
            | FolderError::SocketPathTooLong { .. }
            | FolderError::Credential { .. } => true,
        }
    }
}

/// Why a secret can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialProblem {
    /// It must be the plain name of a file.
    #[error("its name must be a plain file name")]
    Name,
    /// Everybody on the machine could read it.
    #[error("any user may read it (mode {0:04o})")]
    ReadableByOthers(u32),
    /// It can't be read, or isn't UTF-8.
    #[error(transparent)]
    Io(io::Error),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn resolve(variables: &[(&str, &str)], current: &Path, instance: &str) -> Folders {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Folders::resolve(&variable, current, Some(&Instance::new(instance).unwrap()))
    }

    #[test]
    fn development_lives_beside_the_nearest_compose_file() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let alone = resolve(&[], &deep, "bot");
        assert_eq!(alone.state, deep.join(".procession/state"));

        fs::write(home.path().join("a").join(COMPOSE_FILE), "").unwrap();
        let found = resolve(&[("PROCESSION_STATE", "")], &deep, "bot");
        assert_eq!(found.state, home.path().join("a/.procession/state"));
        assert_eq!(found.runtime, home.path().join("a/.procession/run"));
        assert_eq!(found.config, home.path().join("a"));
        assert_eq!(found.credentials, home.path().join("a/credentials"));
    }

    #[test]
    fn own_variables_come_before_systemd_and_become_absolute() {
        let variables = [
            ("PROCESSION_STATE", "relative/state"),
            ("STATE_DIRECTORY", "/var/lib/x"),
            ("PROCESSION_RUNTIME", "/r"),
            ("CREDENTIALS_DIRECTORY", "/run/credentials/bot.service"),
        ];
        let folders = resolve(&variables, Path::new("/here"), "bot");
        assert_eq!(folders.state, Path::new("/here/relative/state"));
        assert_eq!(folders.runtime, Path::new("/r"));
        assert_eq!(folders.credentials, Path::new("/run/credentials/bot.service"));
    }

    #[test]
    fn systemds_folder_of_the_unit_belongs_to_a_root() {
        let variables = [
            ("STATE_DIRECTORY", "/var/lib/other:/var/lib/procession/bot@2"),
            ("RUNTIME_DIRECTORY", "/run/procession/bot@2"),
            ("CONFIGURATION_DIRECTORY", "/etc/procession:/etc/else"),
        ];
        let folders = resolve(&variables, Path::new("/"), "bot@2");
        let instance = Instance::new("bot@2").unwrap();
        assert_eq!(folders.instance(&instance), Path::new("/var/lib/procession/bot@2"));
        assert_eq!(folders.socket(&instance).unwrap(), Path::new("/run/procession/bot@2/socket"));
        assert_eq!(folders.config, Path::new("/etc/procession"));
    }

    #[test]
    fn a_socket_path_may_have_107_bytes_and_not_one_more() {
        let instance = Instance::new("bot").unwrap();
        let root = |bytes: usize| format!("/{}", "r".repeat(bytes - 1 - "/bot/socket".len()));
        let fits = resolve(&[("PROCESSION_RUNTIME", &root(107))], Path::new("/"), "bot");
        assert_eq!(fits.socket(&instance).unwrap().as_os_str().len(), 107);

        let beyond = resolve(&[("PROCESSION_RUNTIME", &root(108))], Path::new("/"), "bot");
        let error = beyond.socket(&instance).unwrap_err();
        assert!(error.to_string().contains("has 108 bytes; the limit is 107"), "{error}");
        assert!(error.hint().unwrap().contains("PROCESSION_RUNTIME"));
        assert!(error.is_configuration());
    }

    #[test]
    fn folders_are_made_for_owner_and_group_only() {
        let home = tempfile::tempdir().unwrap();
        let folders = resolve(&[], home.path(), "bot");
        let instance = Instance::new("bot").unwrap();
        folders.create(&instance).unwrap();
        folders.create(&instance).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&folders.instance(&instance)) & !STATE_MODE, 0);
        assert_eq!(mode(&folders.runtime) & !RUNTIME_MODE, 0);
        assert_eq!(mode(&folders.socket_folder(&instance)) & !SOCKET_FOLDER_MODE, 0);
    }

    #[test]
    fn the_socket_s_folder_is_its_user_s_alone() {
        let home = tempfile::tempdir().unwrap();
        let folders = resolve(&[], home.path(), "bot");
        let instance = Instance::new("bot").unwrap();
        folders.create(&instance).unwrap();
        let own = folders.socket_folder(&instance);
        for mode in [0o770, 0o757, 0o777] {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            let error = folders.create(&instance).unwrap_err();
            assert!(matches!(error, FolderError::WritableByOthers { .. }), "{error}");
            assert!(error.is_configuration() && error.hint().unwrap().starts_with("chmod go-w"), "{error}");
        }

        // A folder of ours, but reached by a link that may be another's.
        fs::remove_dir(&own).unwrap();
        let other = home.path().join("elsewhere");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, &own).unwrap();
        let error = folders.create(&instance).unwrap_err();
        assert!(matches!(error, FolderError::Create { .. }) && error.is_configuration(), "{error}");
    }

    #[test]
    fn another_user_s_folder_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let folders = resolve(&[], home.path(), "bot");
        let instance = Instance::new("bot").unwrap();
        folders.create(&instance).unwrap();
        for path in [folders.socket_folder(&instance), folders.instance(&instance)] {
            std::os::unix::fs::chown(&path, Some(20_001), None).unwrap();
            let error = folders.create(&instance).unwrap_err();
            assert!(matches!(error, FolderError::Foreign { owner: 20_001, user: 0, .. }), "{error}");
            assert!(error.is_configuration() && error.to_string().contains("20001"), "{error}");
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
        folders.create(&instance).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".procession"), "").unwrap();
        let folders = resolve(&[], home.path(), "bot");
        let error = folders.create(&Instance::new("bot").unwrap()).unwrap_err();
        assert!(error.to_string().contains("state folder"), "{error}");
        assert!(error.is_configuration(), "{error:?}");
        assert!(error.hint().unwrap().contains("PROCESSION_STATE"));
    }

    #[test]
    fn credentials_are_read_once_private() {
        let home = tempfile::tempdir().unwrap();
        let folders = resolve(&[], home.path(), "bot");
        assert!(folders.credential("token").unwrap().is_none());

        let path = folders.credentials.join("token");
        fs::create_dir_all(&folders.credentials).unwrap();
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = folders.credential("token").unwrap_err();
        assert!(error.hint().unwrap().contains("chmod 0600"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = folders.credential("token").unwrap().unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        for name in ["../token", "", "a/b", "..", "/etc/passwd"] {
            assert!(folders.credential(name).is_err(), "{name}");
        }
    }
}
