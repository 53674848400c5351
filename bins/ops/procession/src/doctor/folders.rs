//! The folders: that they are there, may be used, have room, and that what is written in them can be read.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use procession::NoSettings;
use procession::files::SOCKET;
use procession::folders::SOCKET_PATH_BYTES_MAX;
use procession::settings;
use rustix::fs::{Access, access, statfs, statvfs};

use super::Finding;
use crate::home::Home;
use crate::text;

/// A journal's segments are this large by default: with less room no process can go on.
const SEGMENT_BYTES: u64 = 64 << 20;
const FEW_BYTES: u64 = 1 << 30;
/// Room that a socket's name should have: the longest name of a process that is likely, and an instance's number.
const NAME_BYTES: usize = 32;

/// File systems with neither locks nor shared mappings to be trusted, and those that forget.
const FILE_SYSTEMS: [(u64, &str, bool); 8] = [
    (0x6969, "NFS", false),
    (0xff53_4d42, "CIFS", false),
    (0xfe53_4d42, "SMB2", false),
    (0x0102_1997, "9P", false),
    (0x00c3_6400, "Ceph", false),
    (0x6573_5546, "FUSE", false),
    (0x0102_1994, "tmpfs", true),
    (0x8584_58f6, "ramfs", true),
];

/// The state folder and the disk that it is on.
pub(super) fn state(home: &Home) -> Vec<Finding> {
    let state = &home.folders.state;
    let folder = folder("state folder", state, "PROCESSION_STATE");
    if !state.is_dir() {
        return vec![folder];
    }
    vec![folder, disk(state), file_system(state)]
}

/// The folder of the sockets.
pub(super) fn runtime(home: &Home) -> Finding {
    folder("runtime folder", &home.folders.runtime, "PROCESSION_RUNTIME")
}

fn folder(check: &'static str, path: &Path, variable: &str) -> Finding {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mend = format!("start a process, which makes it; or set {variable} to where it is");
            return Finding::warn(check, format!("{shown} isn't there"), mend);
        }
        Err(error) => return Finding::fail(check, format!("{shown}: {error}"), format!("set {variable}")),
    };
    if !metadata.is_dir() {
        return Finding::fail(
            check,
            format!("{shown} is no folder"),
            format!("move it away, or set {variable}"),
        );
    }
    if access(path, Access::READ_OK | Access::EXEC_OK).is_err() {
        return Finding::fail(
            check,
            format!("{shown} can't be read"),
            "join the group of the processes".to_owned(),
        );
    }
    if metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0 {
        return Finding::warn(check, format!("any user may change {shown}"), format!("chmod o-w {shown}"));
    }
    if access(path, Access::WRITE_OK).is_err() {
        let mend = "right where each process runs as a user of its own; to start one as this user, chown it";
        return Finding::warn(check, format!("{shown} can't be written in by this user"), mend);
    }
    Finding::ok(check, shown.to_string())
}

fn disk(state: &Path) -> Finding {
    let found = match statvfs(state) {
        Ok(found) => found,
        Err(error) => return Finding::fail("disk", error.to_string(), "see whether the disk is mounted"),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let said = format!("{} free", text::bytes(free));
    let mend = "make room, or keep less: `journal.keep_bytes` and `journal.max_bytes` in procession.toml";
    match free {
        _ if found.f_favail == 0 && found.f_files > 0 => {
            Finding::fail("disk", "no file can be made: inodes are used up", mend)
        }
        0..SEGMENT_BYTES => {
            Finding::fail("disk", format!("{said}, less than a journal's next segment"), mend)
        }
        SEGMENT_BYTES..FEW_BYTES => Finding::warn("disk", said, mend),
        _ => Finding::ok("disk", said),
    }
}

fn file_system(state: &Path) -> Finding {
    let kind = match statfs(state) {
        #[expect(clippy::cast_sign_loss, reason = "a magic number, compared bit for bit")]
        Ok(found) => found.f_type as u64 & 0xffff_ffff,
        Err(error) => {
            return Finding::fail("file system", error.to_string(), "see whether the disk is mounted");
        }
    };
    match FILE_SYSTEMS.iter().find(|(magic, ..)| *magic == kind) {
        None => Finding::ok("file system", "a local one"),
        Some((_, name, true)) => Finding::warn(
            "file system",
            format!("{name}: journals end with the machine's power"),
            "put the state folder on a disk",
        ),
        Some((_, name, false)) => {
            let found = format!("{name}: neither locks nor shared mappings can be trusted");
            Finding::fail("file system", found, "put the state folder on a local disk")
        }
    }
}

/// Whether sockets of the instances that there are, and of those to come, can have their paths.
pub(super) fn socket_paths(home: &Home) -> Finding {
    const CHECK: &str = "socket paths";
    const MEND: &str = "set PROCESSION_RUNTIME to a folder with a shorter path";
    let instances = home.instances().unwrap_or_default();
    if let Some(error) = instances.iter().find_map(|instance| home.folders.socket(instance).err()) {
        return Finding::fail(CHECK, error.to_string(), MEND);
    }
    let taken = home.folders.runtime.as_os_str().as_bytes().len() + "//".len() + SOCKET.name.len();
    match SOCKET_PATH_BYTES_MAX.checked_sub(taken) {
        None | Some(0) => {
            Finding::fail(CHECK, "the runtime folder's path leaves no room for a socket's name", MEND)
        }
        Some(room @ ..NAME_BYTES) => {
            Finding::warn(CHECK, format!("a process's name may have {room} bytes at most"), MEND)
        }
        Some(room) => Finding::ok(CHECK, format!("room for names of {room} bytes")),
    }
}

/// The files of the configuration: the framework's settings as processes read them, others as TOML.
pub(super) fn configuration(home: &Home) -> Vec<Finding> {
    const CHECK: &str = "configuration";
    let config = &home.folders.config;
    let mut findings = Vec::new();
    // Only the framework's part is looked at: this name has no settings.
    if let Err(error) = settings::load::<NoSettings>("doctor", &home.folders) {
        findings.push(Finding::fail(
            CHECK,
            error.to_string(),
            "correct it: processes won't start (exit code 78)",
        ));
    }
    let instances = home.instances().unwrap_or_default();
    let mut names: Vec<_> = instances.iter().map(procession::names::Instance::process).collect();
    names.dedup();
    let mut read = 0;
    for name in names {
        let path = config.join(format!("{name}.toml"));
        let problem = match fs::read_to_string(&path) {
            Ok(text) => text.parse::<toml::Table>().err().map(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => Some(error.to_string()),
        };
        read += 1;
        if let Some(problem) = problem {
            let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
            findings.push(Finding::fail(CHECK, format!("{}: {problem}", path.display()), "correct it"));
        }
    }
    if findings.is_empty() {
        let shared =
            if config.join("procession.toml").is_file() { "procession.toml" } else { "no procession.toml" };
        findings.push(Finding::ok(
            CHECK,
            format!("{}: {shared}, {}", config.display(), text::Count(read, "other file")),
        ));
    }
    findings
}
