//! A whole checkout in a home of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Running, free_port, wait_until};

/// Verdicts become final sooner than in a real shop, and nobody waits long for one that doesn't come.
const SETTINGS: &str = r#"
[basket]
heartbeat_every = "20ms"
heartbeat_lag = "20ms"
[scale]
heartbeat_every = "20ms"
heartbeat_lag = "20ms"
[weight-check]
lateness = "50ms"
[payment]
verification_patience = "5s"
"#;

pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    running: Vec<Running>,
    // Last, so that the processes are gone when their folders go.
    pub(crate) home: Home,
}

impl Shop {
    /// Starts everything, and waits until it is there.
    pub(crate) fn open() -> Self {
        let mut shop = Self::closed("");
        for name in ["basket", "scanner", "scale", "bank", "payment", "weight-check", "terminal"] {
            shop.start(name);
        }
        shop
    }

    /// Only the terminal is there, with these settings.
    pub(crate) fn terminal(settings: &str) -> Self {
        let mut shop = Self::closed(settings);
        shop.start("terminal");
        shop
    }

    fn closed(settings: &str) -> Self {
        let home = Home::new();
        home.configure("procession.toml", SETTINGS);
        home.configure("terminal.toml", settings);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Shop { address, running: Vec::new(), home }
    }

    pub(crate) fn start(&mut self, name: &str) {
        let listen = self.address.to_string();
        let arguments = if name == "terminal" { vec!["run", "--listen", &listen] } else { vec!["run"] };
        let mut process = Running::start(&self.home, name, &arguments);
        process.wait_for_log(DEADLINE, "ready");
        self.running.push(process);
    }

    pub(crate) fn kill(&mut self, name: &str) {
        self.take(name).kill9();
    }

    /// The process of this name, which is no longer the shop's.
    pub(crate) fn take(&mut self, name: &str) -> Running {
        let place = self.running.iter().position(|process| process.name() == name).unwrap();
        self.running.remove(place)
    }

    pub(crate) fn signal(&mut self, name: &str, signal: Signal) {
        self.running.iter_mut().find(|process| process.name() == name).unwrap().signal(signal);
    }

    /// The address that a lane's screen opens.
    pub(crate) fn screen(&self, lane: u32) -> String {
        let screens = std::fs::read_to_string(self.home.state().join("terminal/screens")).unwrap();
        let address = format!("http://{}/lane/{lane}#", self.address);
        screens.lines().find(|line| line.starts_with(&address)).unwrap().to_owned()
    }

    /// The header by which a lane's screen is known; none for a lane that isn't there.
    pub(crate) fn pass(&self, lane: u32) -> String {
        if !(1..=8).contains(&lane) {
            return String::new();
        }
        let screen = self.screen(lane);
        format!("Authorization: Bearer {}\r\n", screen.split_once('#').unwrap().1)
    }

    /// One request: status, head, body.
    pub(crate) fn request(&self, method: &str, path: &str, head: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\n{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    /// Does something at a lane, as the page does: status and answer.
    pub(crate) fn act(&self, lane: u32, action: &str, body: &Value) -> (u16, Value) {
        let head = format!("Host: {}\r\nContent-Type: application/json\r\n{}", self.address, self.pass(lane));
        let path = format!("/api/lanes/{lane}/{action}");
        let (status, _, body) = self.request("POST", &path, &head, &body.to_string());
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Does something that must work, and gives the state after it.
    pub(crate) fn done(&self, lane: u32, action: &str, body: Value) -> Value {
        let (status, state) = self.act(lane, action, &body);
        assert_eq!(status, 200, "{action} {body}: {state}");
        state
    }

    pub(crate) fn state(&self, lane: u32) -> Value {
        let head = format!("Host: {}\r\n{}", self.address, self.pass(lane));
        let (status, _, body) = self.request("GET", &format!("/api/lanes/{lane}"), &head, "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn until_state(&self, lane: u32, what: &str, holds: impl Fn(&Value) -> bool) {
        wait_until(DEADLINE, what, || holds(&self.state(lane)));
    }

    /// Begins at a lane, with some things in basket and bag.
    pub(crate) fn shop_at(&self, lane: u32) {
        self.done(lane, "start", json!({"request": "s"}));
        self.done(lane, "scan", json!({"product": "milk", "request": "a"}));
        self.done(lane, "bag", json!({"put": 1052, "request": "b"}));
    }
}
