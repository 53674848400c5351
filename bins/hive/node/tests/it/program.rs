//! Runs the program in a home of its own, and asks it over HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// As long as anything that must happen may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The folders of a swarm of one.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path().join("run/hive-node/socket")
    }
}

pub(crate) fn command(home: &Home, flags: &[&str]) -> Command {
    let folder = |name: &str| home.0.path().join(name);
    std::fs::create_dir_all(folder("config")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hive-node"));
    command.arg("run").args(flags);
    command.env("PROCESSION_STATE", folder("state")).env("PROCESSION_RUNTIME", folder("run"));
    command.env("PROCESSION_CONFIG", folder("config")).stdin(Stdio::null());
    command
}

/// A running node; killed when it goes out of scope.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(home: &Home, flags: &[&str]) -> Self {
        let mut child = command(home, flags).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (send, receive) = std::sync::mpsc::channel();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = address(&line) {
                    _ = send.send(address);
                }
                kept.lock().unwrap().push(line);
            }
        });
        let Ok(address) = receive.recv_timeout(DEADLINE) else {
            _ = child.kill();
            panic!("it doesn't listen: {:#?}", log.lock().unwrap());
        };
        Self { address, child, log }
    }

    pub(crate) fn log_has(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap()
    }

    /// One request; status and body.
    pub(crate) fn post(&self, method: &str, params: Value) -> io::Result<(u16, String)> {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }

    pub(crate) fn result(&self, method: &str, params: Value) -> Value {
        let (status, body) = self.post(method, params).unwrap();
        assert_eq!(status, 200, "{body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        answer["result"].take()
    }

    pub(crate) fn head(&self) -> u64 {
        let properties = self.result("database_api.get_dynamic_global_properties", json!({}));
        properties["head_block_number"].as_u64().unwrap()
    }

    /// The head, as soon as it is as wanted.
    pub(crate) fn until_head(&self, wanted: impl Fn(u64) -> bool) -> u64 {
        until(|| Some(self.head()).filter(|head| wanted(*head)))
    }

    pub(crate) fn until_refused(&self) {
        until(|| TcpStream::connect(self.address).is_err().then_some(()));
    }

    pub(crate) fn until_answering(&self) {
        until(|| TcpStream::connect(self.address).is_ok().then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What `ready` gives, as soon as it gives something.
fn until<T>(ready: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "it didn't happen in time");
        thread::yield_now();
    }
}

/// The address in the log line that says where it listens.
fn address(line: &str) -> Option<SocketAddr> {
    let record: Value = serde_json::from_str(line).ok()?;
    (record["message"] == "listening").then(|| record["fields"]["address"].as_str()?.parse().ok())?
}
