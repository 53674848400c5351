//! Bad bytes: what no content of a file or a socket may do is cause undefined behaviour, a panic, an endless
//! loop or unbounded memory. Each target turns an input into files or bytes on a socket, lets the product at
//! them, and checks what must hold afterwards.
//!
//! An input is a small program, read by [`input::Input`]: which files there are and what is damaged in them,
//! with or without checksums that match. So most inputs get behind the first checksum.

pub mod history;
pub mod image;
pub mod input;
pub mod targets;

use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder that this process works in: in memory where there is such a place, for a sync costs nothing there.
pub fn home() -> &'static PathBuf {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let root = std::env::var_os("PROCESSION_FUZZ_HOME").map(PathBuf::from);
        let root = root.unwrap_or_else(std::env::temp_dir);
        let home = root.join(format!("procession-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&home).expect("a folder to work in");
        home
    })
}

/// An empty folder of that name in [`home`].
pub fn empty_folder(name: &str) -> PathBuf {
    let folder = home().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder to work in");
    folder
}
