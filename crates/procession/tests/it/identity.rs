//! Nobody speaks for another: who answers at a process's socket is compared with the owner of its state folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use journal::{Codec, Entry, Options as JournalOptions, Writer};
use procession::calls::{Caller, Failure};
use procession::settings::CallSettings;
use procession::varlink::{
    Answer, Call, CallError, Client, ClientError, Endpoint, Options, Server, Service, Unproven,
};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::calls::kitchen::{NOW, block_on, cook};
use crate::sample::{DEADLINE, Home, Running, program};

/// Neither this user nor anybody else.
const STRANGER: u32 = 20_001;

/// Answers in the place of a process.
struct Impostor;

impl Service for Impostor {
    fn interface(&self) -> &'static str {
        "io.procession.Journal"
    }

    fn description(&self) -> &'static str {
        "interface io.procession.Journal\n\nmethod Wait() -> ()\n"
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move { Err::<(), CallError>(call.unknown_method()) })
    }
}

fn serve(socket: &Path) -> Server {
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    Server::start(socket, vec![Arc::new(Impostor) as Arc<dyn Service>], Options::default()).unwrap()
}

/// A folder of another user: one that is made so, or, without the right to, the root folder.
fn foreign(home: &TempDir) -> std::path::PathBuf {
    if !geteuid().is_root() {
        return "/".into();
    }
    let folder = home.path().join("theirs");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(STRANGER), None).unwrap();
    folder
}

fn unproven(endpoint: &Endpoint) -> (Unproven, String) {
    let error = block_on(Client::connect_to(endpoint)).unwrap_err();
    let said = error.to_string();
    let ClientError::Unproven(error) = error else { panic!("{said}") };
    (error, said)
}

#[test]
fn only_the_owner_of_the_state_folder_is_the_process() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let _server = serve(&socket);
    let own = home.path().join("own");
    fs::create_dir(&own).unwrap();
    block_on(Client::connect_to(&Endpoint::new(&socket, &own))).unwrap();

    let theirs = foreign(&home);
    let (error, said) = unproven(&Endpoint::new(&socket, &theirs));
    assert!(matches!(error, Unproven::Impostor { .. }), "{said}");
    let me = geteuid().as_raw().to_string();
    for part in [socket.to_str().unwrap(), theirs.to_str().unwrap(), &me] {
        assert!(said.contains(part), "{part} is not in {said:?}");
    }

    let (error, said) = unproven(&Endpoint::new(&socket, home.path().join("missing")));
    assert!(matches!(error, Unproven::NoOwner { .. }) && said.contains("missing"), "{said}");
}

#[test]
fn a_connection_made_anew_is_looked_at_anew() {
    if !geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (socket, folder) = (home.path().join("socket"), home.path().join("state"));
    fs::create_dir(&folder).unwrap();
    let endpoint = Endpoint::new(&socket, &folder);
    let first = serve(&socket);
    block_on(Client::connect_to(&endpoint)).unwrap();
    first.stop();
    let _second = serve(&socket);
    chown(&folder, Some(STRANGER), None).unwrap();
    assert!(matches!(unproven(&endpoint), (Unproven::Impostor { owner: STRANGER, .. }, _)));
}

#[test]
fn a_call_goes_to_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let _server = serve(&socket);
    let settings = CallSettings { timeout: DEADLINE, patience: DEADLINE, ..CallSettings::default() };
    let kitchen = Caller::new("kitchen", Endpoint::new(&socket, foreign(&home)), &settings);
    let failure = block_on(kitchen.call(&cook("soup", NOW))).unwrap_err();
    assert!(matches!(failure, Failure::Unreachable { .. }) && !failure.is_uncertain(), "{failure}");
    assert!(failure.to_string().contains("is not the process"), "{failure}");
}

#[test]
fn a_subscriber_does_not_wait_on_an_impostor_and_says_so() {
    if !geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let folder = home.instance("greeter");
    fs::create_dir_all(&folder).unwrap();
    let mut writer = Writer::open(&folder, &JournalOptions::default()).unwrap();
    let entry = Entry { topic: "greeting", key: None, cause: None, codec: Codec::Json, payload: b"{}" };
    writer.append(&entry).unwrap();
    drop(writer);
    chown(&folder, Some(STRANGER), None).unwrap();
    let _impostor = serve(&home.socket("greeter"));
    let mut listener = Running::start(home.command_of(&program("listener"), &["run"]).stdout(Stdio::null()));
    listener.wait_for("not waiting on a publisher");
}

#[test]
fn a_process_starts_only_where_nobody_else_can_answer() {
    let home = Home::new();
    let own = home.path().join("run/sample");
    fs::create_dir_all(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    let ended = home.run(&["run", "--behaviour", "finish"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for part in [own.to_str().unwrap(), "mode 0777", "try: chmod go-w"] {
        assert!(ended.stderr.contains(part), "{part} is not in {ended:?}");
    }

    fs::set_permissions(&own, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(home.run(&["run", "--behaviour", "finish"]).code, Some(0));
    if !geteuid().is_root() {
        return;
    }
    for folder in ["run/sample", "state/sample"] {
        chown(home.path().join(folder), Some(STRANGER), None).unwrap();
        let ended = home.run(&["run", "--behaviour", "finish"]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains("20001") && ended.stderr.contains("root (0)"), "{ended:?}");
        chown(home.path().join(folder), Some(0), None).unwrap();
    }
}
