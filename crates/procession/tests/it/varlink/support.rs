//! A server with services to provoke it, and a client that may misbehave.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use procession::varlink::{Answer, Call, CallError, DirectReply, Limits, Options, Server, Service};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing here takes so long, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server in a folder of its own, with a [`Provoke`] service.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) provoke: Arc<Provoke>,
    pub(crate) held: mpsc::Receiver<DirectReply>,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) events: mpsc::Receiver<&'static str>,
    _folder: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::with_options(Options { limits, ..Options::default() })
    }

    pub(crate) fn with_options(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (held_sender, held) = mpsc::channel();
        let (call_sender, calls) = mpsc::channel();
        let (event_sender, events) = mpsc::channel();
        let provoke = Arc::new(Provoke {
            held: Mutex::new(held_sender),
            calls: Mutex::new(call_sender),
            events: Mutex::new(event_sender),
            flooded: AtomicU64::new(0),
        });
        let services: Vec<Arc<dyn Service>> = vec![Arc::clone(&provoke) as Arc<dyn Service>];
        let path = folder.path().join("test.sock");
        Self {
            server: Server::start(path, services, options).unwrap(),
            provoke,
            held,
            calls,
            events,
            _folder: folder,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.server.path().to_owned()
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.server.path())
    }

    /// A new connection gets its answer: the server goes on.
    pub(crate) fn assert_answers(&self) {
        let mut wire = self.connect();
        wire.call("Echo", json!({"text": "still there"}));
        assert_eq!(wire.receive().unwrap()["parameters"]["text"], "still there");
    }

    pub(crate) fn expect_event(&self, event: &str) {
        assert_eq!(self.events.recv_timeout(DEADLINE), Ok(event));
    }

    pub(crate) fn next_held(&self) -> DirectReply {
        self.held.recv_timeout(DEADLINE).unwrap()
    }
}

/// Answers in every way there is.
pub(crate) struct Provoke {
    held: Mutex<mpsc::Sender<DirectReply>>,
    calls: Mutex<mpsc::Sender<Call>>,
    events: Mutex<mpsc::Sender<&'static str>>,
    /// Replies that `Flood` has handed over.
    pub(crate) flooded: AtomicU64,
}

pub(crate) const PROVOKE: &str = "\
interface io.procession.test.Provoke

method Echo(text: string) -> (text: string)
method Note(text: string) -> ()
method Hold() -> ()
method Elsewhere() -> ()
method Sleep() -> ()
method Thread() -> (path: string)
method Panic() -> ()
method Silent() -> ()
method Large(bytes: int) -> (text: string)
method Count(to: int) -> (n: int)
method Flood(bytes: int) -> (n: int, text: string)
";

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Bytes {
    bytes: usize,
}

#[derive(Deserialize)]
struct To {
    to: u64,
}

/// Tells when the work of a call was dropped.
struct Dropped<'a>(&'a Provoke);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.tell("dropped");
    }
}

impl Provoke {
    fn tell(&self, event: &'static str) {
        // A test that has ended doesn't listen.
        let _ = self.events.lock().unwrap().send(event);
    }

    async fn answer(&self, mut call: Call) -> Result<(), CallError> {
        match call.method() {
            "Echo" => {
                let Text { text } = call.parameters()?;
                call.reply(&json!({"text": text}))
            }
            "Note" => {
                self.tell("noted");
                call.reply(&json!({}))
            }
            "Hold" => {
                let _ = self.held.lock().unwrap().send(call.into_direct());
                Ok(())
            }
            "Elsewhere" => {
                let _ = self.calls.lock().unwrap().send(call);
                Ok(())
            }
            "Sleep" => {
                let _dropped = Dropped(self);
                self.tell("asleep");
                std::future::pending::<()>().await;
                drop(call);
                Ok(())
            }
            "Thread" => {
                let path = std::fs::canonicalize("/proc/thread-self").unwrap();
                call.reply(&json!({"path": path}))
            }
            "Panic" => panic!("on request"),
            "Silent" => Ok(()),
            "Large" => {
                let Bytes { bytes } = call.parameters()?;
                call.reply(&json!({"text": "x".repeat(bytes)}))
            }
            "Count" => {
                call.require_more()?;
                let To { to } = call.parameters()?;
                for n in 1..to {
                    call.feed_continues(&json!({"n": n})).await?;
                }
                call.reply(&json!({"n": to}))
            }
            "Flood" => {
                let Bytes { bytes } = call.parameters()?;
                self.flood(call, &"x".repeat(bytes)).await
            }
            _ => Err(call.unknown_method()),
        }
    }

    async fn flood(&self, mut call: Call, text: &str) -> Result<(), CallError> {
        let _dropped = Dropped(self);
        loop {
            let n = self.flooded.load(Ordering::Relaxed);
            call.reply_continues(&json!({"n": n, "text": text})).await?;
            self.flooded.store(n + 1, Ordering::Relaxed);
        }
    }
}

impl Service for Provoke {
    fn interface(&self) -> &'static str {
        "io.procession.test.Provoke"
    }

    fn description(&self) -> &'static str {
        PROVOKE
    }

    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(self.answer(call))
    }
}

/// A connection that says whatever bytes it is told to.
pub(crate) struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(path: &Path) -> Self {
        Self::of(UnixStream::connect(path).unwrap())
    }

    pub(crate) fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) {
        self.send(&request(method, parameters));
    }

    /// Says as much as the other side takes. It may hang up meanwhile.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
    }

    /// The next message; none at the end.
    pub(crate) fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                let message = serde_json::from_slice(&self.buffer[..end]).unwrap();
                self.buffer.drain(..=end);
                return Some(message);
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Nothing arrives within `time`.
    pub(crate) fn assert_silent(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let error = self.stream.read(&mut byte).expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    /// The last message, which is this error, and then the end.
    pub(crate) fn assert_refused(&mut self, name: &str) -> Value {
        let message = self.receive().expect("an error before the end");
        assert_eq!(message["error"], name, "{message}");
        assert_eq!(self.receive(), None);
        message["parameters"].clone()
    }
}

pub(crate) fn request(method: &str, parameters: Value) -> Value {
    json!({"method": format!("io.procession.test.Provoke.{method}"), "parameters": parameters})
}

/// Waits for a condition that somebody else brings about.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A runtime like the one that an application has.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs one test of this binary again, in a process of its own: what it
/// changes belongs to the whole process. Its body calls [`is_child`] first.
pub(crate) fn run_in_child(test: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

const CHILD: &str = "PROCESSION_TEST_CHILD";

/// Whether this process was made for this test.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Asks for this many open files, and tells how many the system grants.
pub(crate) fn raise_open_files(wanted: u64) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let granted = [wanted.max(hard), hard].into_iter().find(|count| {
        let raised = Rlimit { current: Some(*count), maximum: Some(*count) };
        setrlimit(Resource::Nofile, raised).is_ok()
    });
    usize::try_from(granted.or(limit.current).unwrap_or(0)).unwrap_or(usize::MAX)
}
