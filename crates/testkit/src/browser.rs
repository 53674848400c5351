//! A real browser without a window: Chromium, driven through the DevTools protocol over its own pipes.
//!
//! No driver program and no WebSocket: `--remote-debugging-pipe` takes JSON messages that end in a NUL byte on
//! descriptor 3 and answers on 4.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::find::left_out;
use crate::limits::is_root;
use crate::wait::DEADLINE;

/// How often a condition in the page is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const NAMES: [&str; 5] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page. Dropped, it is killed by its own id.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    /// The page's session.
    page: String,
    last: u64,
    problems: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser; says so where there is none (`PROCESSION_TEST_BROWSER` says where).
    ///
    /// # Panics
    /// If it is there and doesn't work.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = find()?;
        let profile = TempDir::new().expect("a temporary folder can be made");
        let mut flags = vec![
            "--headless".to_owned(),
            "--remote-debugging-pipe".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let quiet = "--no-first-run --no-default-browser-check --disable-gpu --disable-dev-shm-usage \
                     --disable-background-networking --disable-component-update --disable-sync --mute-audio \
                     --no-proxy-server --hide-scrollbars";
        flags.extend(quiet.split_whitespace().map(str::to_owned));
        if is_root() {
            // Its sandbox refuses to run as root; the only pages are ours.
            flags.push("--no-sandbox".to_owned());
        }
        // The shell moves our pipes to where the browser looks for them.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#]).arg(&program).args(&flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell can be started");
        let orders = child.stdin.take().expect("it is piped");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while output.read_until(0, &mut bytes).is_ok_and(|count| count > 0) {
                bytes.pop();
                let message = serde_json::from_slice(&bytes).expect("the browser speaks JSON");
                if send.send(message).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        let page = String::new();
        let mut browser =
            Self { child, orders, messages, page, last: 0, problems: Vec::new(), _profile: profile };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            self.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        attached["sessionId"].as_str().expect("a session has an id").clone_into(&mut self.page);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Opens a page, and waits until it is loaded.
    ///
    /// # Panics
    /// If it can't be loaded.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        // What is behind `#` is for the page, which may take it away.
        let address = url.split('#').next();
        let loaded =
            format!("document.readyState === 'complete' && location.href.startsWith({})", json!(address));
        self.until("the page is loaded", &loaded);
    }

    /// The size of the window, in CSS pixels, and whether it is touched rather than pointed at.
    pub fn resize(&mut self, width: u32, height: u32, touch: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": touch, "maxTouchPoints": 1}));
    }

    /// What the page is to think that the user prefers: dark or light.
    pub fn prefer_dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The value of an expression in the page; promises are waited for.
    ///
    /// # Panics
    /// If it throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Panics
    /// If it isn't in time; shows the page's text.
    #[track_caller]
    pub fn until(&mut self, what: &str, expression: &str) {
        let begun = Instant::now();
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            if begun.elapsed() > DEADLINE {
                let text = self.eval("document.body?.innerText");
                panic!("waited {DEADLINE:?} in vain: {what}\n{}", text.as_str().unwrap_or_default());
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Clicks on the middle of the first element that a selector finds.
    ///
    /// # Panics
    /// If there is none, or something else lies over it.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Taps on the middle of the first element that a selector finds.
    ///
    /// # Panics
    /// As [`Self::click`].
    #[track_caller]
    pub fn tap(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        let touch = json!({"type": "touchStart", "touchPoints": [{"x": x, "y": y}]});
        self.call("Input.dispatchTouchEvent", touch);
        self.call("Input.dispatchTouchEvent", json!({"type": "touchEnd", "touchPoints": []}));
    }

    /// Presses a key: a character, or `Tab`, `Shift+Tab`, `Enter`, `Escape`, `Space`, `ArrowDown`.
    pub fn press(&mut self, key: &str) {
        let (modifiers, key) = key.strip_prefix("Shift+").map_or((0, key), |key| (8, key));
        let (name, code, text) = match key {
            "Tab" => ("Tab", 9, None),
            "Enter" => ("Enter", 13, Some("\r")),
            "Escape" => ("Escape", 27, None),
            "Space" => (" ", 32, Some(" ")),
            "ArrowDown" => ("ArrowDown", 40, None),
            key => (key, key.to_ascii_uppercase().bytes().next().unwrap_or_default(), Some(key)),
        };
        let mut down =
            json!({"type": "keyDown", "key": name, "windowsVirtualKeyCode": code, "modifiers": modifiers});
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": name, "windowsVirtualKeyCode": code, "modifiers": modifiers});
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Presses one key after the other.
    pub fn write(&mut self, text: &str) {
        for letter in text.chars() {
            self.press(letter.encode_utf8(&mut [0; 4]));
        }
    }

    /// Keeps a picture of what is seen, or with `whole` of the whole page.
    ///
    /// # Panics
    /// If it can't be kept.
    pub fn picture(&mut self, path: &Path, whole: bool) {
        let picture =
            self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}));
        let bytes =
            STANDARD.decode(picture["data"].as_str().expect("a picture has data")).expect("in base64");
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What has appeared in the console as an error or a warning since this was asked last, and what was thrown.
    /// Those that begin with `network:` are answers of the server.
    pub fn problems(&mut self) -> Vec<String> {
        // Whatever was said before the answer to this has been heard by then.
        self.eval("1");
        std::mem::take(&mut self.problems)
    }

    #[track_caller]
    fn middle(&mut self, selector: &str) -> (f64, f64) {
        let find = format!(
            "(() => {{ const found = document.querySelector({selector});
               if (!found) return 'not there';
               found.scrollIntoView({{block: 'center', behavior: 'instant'}});
               const box = found.getBoundingClientRect();
               const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
               const top = document.elementFromPoint(x, y);
               return found.contains(top) ? {{x, y}} : 'under ' + (top?.outerHTML ?? 'nothing').slice(0, 200); }})()",
            selector = json!(selector)
        );
        let place = self.eval(&find);
        match (place["x"].as_f64(), place["y"].as_f64()) {
            (Some(x), Some(y)) => (x, y),
            _ => panic!("{selector} can't be pressed: it is {place}"),
        }
    }

    /// Calls a method of the protocol.
    ///
    /// # Panics
    /// If it fails, or the browser is gone.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut order = json!({"id": self.last, "method": method, "params": parameters});
        if !self.page.is_empty() {
            order["sessionId"] = json!(self.page);
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).expect("the browser runs");
        let until = Instant::now() + DEADLINE;
        loop {
            let mut message =
                match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer of the browser"),
                    Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
                };
            if message["id"] == json!(self.last) {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.problems.extend(problem(&message));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It fails only if it has ended already. Its own helpers end when their pipes do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an event of the protocol complains about, if it does.
fn problem(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let details = &parameters["exceptionDetails"];
            Some(format!("thrown: {} {}", details["text"], details["exception"]["description"]))
        }
        "Runtime.consoleAPICalled"
            if ["error", "warning", "assert"].contains(&parameters["type"].as_str()?) =>
        {
            Some(format!("console: {}", parameters["args"]))
        }
        "Log.entryAdded" if ["error", "warning"].contains(&parameters["entry"]["level"].as_str()?) => {
            let entry = &parameters["entry"];
            let source = entry["source"].as_str().unwrap_or("log");
            Some(format!("{source}: {} {}", entry["text"], entry["url"]))
        }
        _ => None,
    }
}

fn find() -> Option<PathBuf> {
    if let Some(path) = env::var_os("PROCESSION_TEST_BROWSER") {
        return Some(PathBuf::from(path));
    }
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let paths = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = paths.into_iter().find(|path| path.is_file());
    if found.is_none() {
        left_out(
            "no Chromium is there (`apt-get install chromium-headless-shell`, or PROCESSION_TEST_BROWSER says where)",
        );
    }
    found
}
