//! The socket's file, and getting in.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use procession::varlink::{
    AddressError, Answer, Call, Client, ClientError, Options, SOCKET_PATH_BYTES_MAX, Server, Service,
    StartError,
};
use serde_json::json;

use super::support::{DEADLINE, Stage, Wire, block_on, is_child, run_in_child, wait_until};

fn start(path: impl Into<PathBuf>) -> Result<Server, StartError> {
    Server::start(path, vec![], Options::default())
}

fn assert_serves(server: &Server) {
    let mut wire = Wire::connect(server.path());
    wire.send(&json!({"method": "org.varlink.service.GetInfo"}));
    assert!(wire.receive().unwrap()["parameters"]["interfaces"].is_array());
}

#[test]
fn owner_and_group_may_connect_and_nobody_else() {
    let stage = Stage::new();
    let mode = std::fs::metadata(stage.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
}

/// The body of `the_umask_changes_nothing`, in a process of its own.
#[test]
fn child_with_umasks() {
    if !is_child() {
        return;
    }
    for umask in [0o000, 0o022, 0o077, 0o777] {
        let folder = tempfile::tempdir().unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let server = start(folder.path().join("umask.sock")).unwrap();
        let mode = std::fs::metadata(server.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660, "umask {umask:o}");
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    }
    println!("all umasks tried");
}

#[test]
fn the_umask_changes_nothing() {
    assert!(run_in_child("child_with_umasks").contains("all umasks tried"));
}

#[test]
fn the_socket_of_a_dead_owner_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale.sock");
    // The file stays when the listener is dropped.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = start(&path).unwrap();
    assert_serves(&server);
    server.stop();
    assert!(!path.exists());
    assert_serves(&start(&path).unwrap());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.sock");
    std::fs::write(&file, "precious").unwrap();
    let link = folder.path().join("link.sock");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let subfolder = folder.path().join("folder.sock");
    std::fs::create_dir(&subfolder).unwrap();
    for path in [&file, &link, &subfolder] {
        let error = start(path).err().unwrap();
        assert!(matches!(error, StartError::NotASocket { .. }), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/test.sock");
    let error = start(&path).err().unwrap();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains("missing/test.sock"), "{error}");
}

#[test]
fn a_path_beyond_the_kernel_s_limit_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("x");
    let room = SOCKET_PATH_BYTES_MAX - stem.as_os_str().len();
    let fits = folder.path().join("x".repeat(room + 1));
    assert_eq!(fits.as_os_str().len(), SOCKET_PATH_BYTES_MAX);
    let server = start(&fits).unwrap();
    assert_serves(&server);
    let long = folder.path().join("x".repeat(room + 2));
    let error = start(&long).err().unwrap();
    println!("{error}");
    assert!(matches!(error, StartError::Address(AddressError::PathTooLong { bytes: 108, .. })));
    let error = block_on(Client::connect(&long)).unwrap_err();
    assert!(matches!(error, ClientError::Address(_)), "{error}");
}

#[test]
fn a_socket_that_is_no_longer_ours_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken.sock");
    let first = start(&path).unwrap();
    let other = folder.path().join("other.sock");
    let _listener = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    first.stop();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_socket_that_somebody_listens_on_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.sock");
    let first = start(&path).unwrap();
    // As a process starts it: an error must not become a panic there.
    let error = block_on(async { start(&path) }).err().unwrap();
    assert!(matches!(error, StartError::InUse { .. }), "{error}");
    let pid = format!("pid {}", std::process::id());
    assert!(error.to_string().contains(&pid) && error.to_string().contains("live.sock"), "{error}");
    assert_serves(&first);
}

#[test]
fn what_is_in_the_way_is_an_error_within_a_runtime_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    std::fs::create_dir(&path).unwrap();
    let error = block_on(async { start(&path) }).err().unwrap();
    assert!(matches!(error, StartError::NotASocket { .. }), "{error}");
}

/// Answers at the path, soon.
fn wait_for_answers(path: &Path) {
    wait_until("answers at the path", || {
        let Ok(stream) = UnixStream::connect(path) else { return false };
        let mut wire = Wire::of(stream);
        wire.send_bytes(b"{\"method\":\"org.varlink.service.GetInfo\"}\0");
        wire.receive().is_some_and(|reply| reply["error"].is_null())
    });
}

#[test]
fn a_socket_that_is_removed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("run/bot");
    std::fs::create_dir_all(&own).unwrap();
    let path = own.join("socket");
    let server = start(&path).unwrap();
    let mut early = Wire::connect(&path);
    std::fs::remove_file(&path).unwrap();
    wait_for_answers(&path);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    wait_for_answers(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    // Who was connected before still is.
    early.send(&json!({"method": "org.varlink.service.GetInfo"}));
    assert!(early.receive().unwrap()["error"].is_null());
    server.stop();
    assert!(!path.exists());
}

#[test]
fn what_has_taken_the_socket_s_place_is_left_alone_as_long_as_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _server = start(&path).unwrap();
    let other = folder.path().join("other");
    let squatter = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    // It knocks, and then knows.
    squatter.set_nonblocking(true).unwrap();
    for _ in 0..2 {
        wait_until("a knock", || squatter.accept().is_ok());
    }
    assert!(path.exists());
    drop(squatter);
    wait_for_answers(&path);

    std::fs::write(&other, "precious").unwrap();
    std::fs::rename(&other, &path).unwrap();
    std::fs::rename(&path, &other).unwrap();
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
    wait_for_answers(&path);
}

struct Quit(Mutex<Option<Server>>);

impl Service for Quit {
    fn interface(&self) -> &'static str {
        "io.procession.test.Quit"
    }

    fn description(&self) -> &'static str {
        "interface io.procession.test.Quit\n\nmethod Quit() -> ()\n"
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            let server = self.0.lock().unwrap().take();
            call.reply(&json!({}))?;
            drop(server);
            Ok(())
        })
    }
}

#[test]
fn a_service_may_hold_the_last_handle_of_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quit.sock");
    let quit = Arc::new(Quit(Mutex::new(None)));
    let server = Server::start(&path, vec![Arc::clone(&quit) as _], Options::default()).unwrap();
    *quit.0.lock().unwrap() = Some(server);
    let mut wire = Wire::connect(&path);
    wire.send(&json!({"method": "io.procession.test.Quit.Quit"}));
    assert!(wire.receive().unwrap()["error"].is_null());
    assert_eq!(wire.receive(), None);
    wait_until("the socket to go", || !path.exists());
}

#[test]
fn a_full_queue_of_connections_is_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = Wire::connect(&path);
    let (told, connected) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = block_on(Client::connect(&path)).map(|client| client.peer());
        told.send(outcome).unwrap();
    });
    // The queue is full; it gets in once the first is out.
    assert!(connected.recv_timeout(Duration::from_millis(100)).is_err());
    let _accepted = listener.accept().unwrap();
    let peer = connected.recv_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
}
