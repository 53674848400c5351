//! Who opens connections and says little, and who may use which lane.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{DEADLINE, wait_until};

use crate::shop::Shop;

const FEW: &str = "connections_max = 20\nidle_timeout = \"500ms\"\n";

impl Shop {
    /// A connection on which this has been sent.
    fn begin(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// Half a head, half a body, nothing at all, and a whole request after which nothing comes.
    fn half_requests(&self) -> Vec<TcpStream> {
        let host = format!("Host: {}\r\n", self.address);
        let json = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        let halves = [
            format!("GET /lane/1 HTTP/1.1\r\n{host}"),
            format!("POST /api/lanes/1/start HTTP/1.1\r\n{host}{json}"),
            String::new(),
            format!("GET /api/products HTTP/1.1\r\n{host}\r\n"),
        ];
        halves.iter().map(|half| self.begin(half)).collect()
    }

    fn answers(&self) {
        let (status, _, _) = self.request("GET", "/api/products", &format!("Host: {}\r\n", self.address), "");
        assert_eq!(status, 200);
    }
}

/// Sees that the server closes a connection; whatever it says before that.
fn assert_closed(stream: &mut TcpStream) {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it stays open: {error}, {:?}", String::from_utf8_lossy(&said)),
    }
}

fn sockets(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn half_requests_are_given_up_hold_nobody_up_and_take_no_more_than_their_places() {
    let mut shop = Shop::terminal(FEW);
    let terminal = shop.take("terminal");
    let before = sockets(terminal.pid());
    let mut halves = Vec::new();
    for _ in 0..30 {
        halves.extend(shop.half_requests());
        // 120 of them, for 20 places: somebody who has something to say gets one.
        shop.answers();
        wait_until(DEADLINE, "no more than 20 are kept", || sockets(terminal.pid()) <= before + 20);
    }
    for half in &mut halves {
        assert_closed(half);
    }

    // A stop waits for none of them.
    let _halves: Vec<_> = (0..5).flat_map(|_| shop.half_requests()).collect();
    shop.answers();
    terminal.terminate(DEADLINE).assert_code(0);
}

#[test]
fn whoever_takes_no_answers_is_given_up() {
    let shop = Shop::terminal(FEW);
    let request = format!("GET /assets/main.js HTTP/1.1\r\nHost: {}\r\n\r\n", shop.address);
    let mut stream = shop.begin(&request);
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let begun = Instant::now();
    loop {
        match stream.write(request.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                    "{error}"
                );
                break;
            }
        }
        assert!(begun.elapsed() < DEADLINE, "the connection stays");
    }
    shop.answers();
}

#[test]
fn screens_that_look_on_leave_room_for_others() {
    let shop = Shop::terminal(FEW);
    let token = shop.screen(1).split_once('#').unwrap().1.to_owned();
    let watch = format!("GET /api/lanes/1/events?token={token} HTTP/1.1\r\nHost: {}\r\n\r\n", shop.address);
    let status = || {
        let mut stream = shop.begin(&watch);
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (String::from_utf8_lossy(&head[9..]).into_owned(), stream)
    };
    let watching: Vec<_> = (0..10).map(|_| status()).collect();
    assert!(watching.iter().all(|(status, _)| status == "200"));
    assert_eq!(status().0, "503");
    shop.answers();
    drop(watching);
    wait_until(DEADLINE, "their places are free again", || status().0 == "200");
}

#[test]
fn a_lane_is_used_by_its_own_screen_alone() {
    let mut shop = Shop::terminal("");
    let screens = shop.home.state().join("terminal/screens");
    assert_eq!(fs::metadata(&screens).unwrap().permissions().mode() & 0o777, 0o600);
    let (own, other) = (shop.pass(1), shop.pass(2));
    let host = format!("Host: {}\r\n", shop.address);
    let json = format!("{host}Content-Type: application/json\r\n");
    let body = json!({"request": "1"}).to_string();
    for (pass, own) in [("", false), (&*other, false), ("Authorization: Bearer x\r\n", false), (&*own, true)]
    {
        let (status, _, _) = shop.request("GET", "/api/lanes/1", &format!("{host}{pass}"), "");
        assert_eq!(status, if own { 200 } else { 403 }, "{pass}");
        // Nobody but the terminal is there, so that the right one hears that it can't be done now.
        let (status, _, answer) = shop.request("POST", "/api/lanes/1/start", &format!("{json}{pass}"), &body);
        assert_eq!(status, if own { 503 } else { 403 }, "{pass}: {answer}");
    }
    let (status, _, answer) = shop.request("GET", "/api/lanes/1/events", &host, "");
    assert_eq!((status, answer.contains("NotThisScreen")), (403, true), "{answer}");

    // A screen needs nothing new after a restart.
    shop.kill("terminal");
    shop.start("terminal");
    assert_eq!((shop.pass(1), shop.pass(2)), (own, other));

    let open = Shop::terminal("open = true\n");
    assert!(!open.home.state().join("terminal/screens").exists());
    let (status, _, _) = open.request("GET", "/api/lanes/1", &format!("Host: {}\r\n", open.address), "");
    assert_eq!(status, 200);
}
