//! A publisher that does not let a subscriber wait at its socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::replaced::{speak_as, wait_to_hear};
use crate::sample::{DEADLINE, Home, Running, program};

/// So many refusals are looked at.
const REFUSALS: usize = 8;
/// Fewer than as many pauses, each twice as long as the one before, take together.
const PAUSES_MIN: Duration = Duration::from_millis(300);

#[test]
fn who_may_not_wait_hears_all_the_same_and_says_so_once() {
    for refusal in ["org.varlink.service.PermissionDenied", "io.procession.Protocol.TooManyConnections"] {
        let home = Home::new();
        speak_as(&home, "source", 1..3);
        let socket = home.socket("source");
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o750)).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let (refused, refusals) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // What is asked, if anything is.
                if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(format!("{{\"error\":\"{refusal}\"}}\0").as_bytes());
                    if refused.send(()).is_err() {
                        return;
                    }
                }
            }
        });
        let mut command = home.command_of(&program("careful"), &["run"]);
        let careful = Running::start(command.stdout(Stdio::null()));
        wait_to_hear(&home, &[1, 2]);
        let first = refusals.recv_timeout(DEADLINE).map(|()| Instant::now()).unwrap();
        (1..REFUSALS).for_each(|_| refusals.recv_timeout(DEADLINE).unwrap());
        assert!(first.elapsed() >= PAUSES_MIN, "{:?}: it asks without a pause", first.elapsed());
        speak_as(&home, "source", 3..4);
        wait_to_hear(&home, &[1, 2, 3]);
        careful.signal(Signal::TERM);
        let ended = careful.wait();
        assert_eq!(ended.stderr.matches("does not let it wait").count(), 1, "{}", ended.stderr);
        let name = refusal.rsplit('.').next().unwrap();
        assert!(name == "PermissionDenied" || ended.stderr.contains(name), "{}", ended.stderr);
    }
}
