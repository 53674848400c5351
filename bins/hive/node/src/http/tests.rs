use std::io::{self, Read};
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::settings::Settings;

/// As long as anything that must happen may take.
const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    node: Arc<Node>,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Running {
    fn start(faults: &[&str]) -> Self {
        Self::limited(faults, |_| {})
    }

    fn limited(faults: &[&str], limit: impl FnOnce(&mut Limits)) -> Self {
        let fault = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings =
            Settings { listen, fault, block_interval: Duration::from_millis(1), ..Settings::default() };
        let node = Arc::new(Node::open(&settings, None, Box::new(|_| Ok(()))).unwrap());
        let mut server = Server::bind(settings.listen, Arc::clone(&node)).unwrap();
        limit(&mut server.limits);
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let task = tokio::spawn(server.run(shutdown.clone()));
        Self { node, address, shutdown, task }
    }

    fn set(&self, fault: &str) -> u32 {
        self.node.set_fault(fault.parse().unwrap()).unwrap()
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }

    async fn post(&self, body: &str) -> io::Result<Reply> {
        exchange(&mut self.connect().await?, &post(body, "")).await
    }

    async fn ask(&self, method: &str) -> io::Result<Reply> {
        self.post(&request(method)).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn request(method: &str) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": {"block_num": 1}, "id": 7}).to_string()
}

fn post(body: &str, headers: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: node\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// One request and its answer; whatever breaks the answer off is an error.
async fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<Reply> {
    timeout(DEADLINE, async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await?;
        Ok(Reply { status, headers: head, body })
    })
    .await
    .expect("an answer in time")
}

const GET_BLOCK: &str = "block_api.get_block";
const PROPERTIES: &str = "database_api.get_dynamic_global_properties";

#[tokio::test]
async fn answers_requests_and_batches_on_one_connection() {
    let running = Running::start(&[]);
    let mut stream = running.connect().await.unwrap();
    for _ in 0..3 {
        let reply = exchange(&mut stream, &post(&request(GET_BLOCK), "")).await.unwrap();
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(7)));
        assert!(reply.headers.contains("content-type: application/json\r\n"));
        assert!(reply.json()["result"]["block"]["block_id"].as_str().unwrap().starts_with("00000001"));
    }
    let batch = format!("[{},{},7]", request(GET_BLOCK), request(PROPERTIES));
    let replies = exchange(&mut stream, &post(&batch, "")).await.unwrap().json();
    assert_eq!(replies.as_array().unwrap().len(), 3);
    assert_eq!(replies[1]["result"]["head_block_id"].as_str().unwrap().len(), 40);
    assert_eq!(replies[2]["error"]["code"], -32700);
    let broken = exchange(&mut stream, &post("{\"jsonrpc\"", "")).await.unwrap();
    assert_eq!((broken.status, &broken.json()["error"]["code"]), (200, &json!(-32700)));
    let status = running.node.status();
    assert_eq!(status.requests, [(GET_BLOCK, 4), (PROPERTIES, 1), ("other", 2)]);
    running.stop().await;
}

#[tokio::test]
async fn gzip_where_it_is_asked_for() {
    let running = Running::start(&[]);
    let mut stream = running.connect().await.unwrap();
    let plain = exchange(&mut stream, &post(&request(GET_BLOCK), "")).await.unwrap();
    let packed =
        exchange(&mut stream, &post(&request(GET_BLOCK), "Accept-Encoding: br, gzip\r\n")).await.unwrap();
    assert!(packed.headers.contains("content-encoding: gzip\r\n") && packed.body.len() < plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text());
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let running = Running::start(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_owned(), 405),
        (post("{}", "").replace("POST /", "POST /rpc"), 404),
        (post(&" ".repeat(REQUEST_BYTES_MAX + 1), ""), 413),
    ] {
        let mut stream = running.connect().await.unwrap();
        let reply = exchange(&mut stream, &request).await.unwrap();
        assert_eq!(reply.status, status);
        assert!(reply.text().starts_with("<html>"));
    }
    running.stop().await;
}

#[tokio::test]
async fn proxies_answer_with_pages() {
    for (fault, title) in [
        ("http-429", "429 Too Many Requests"),
        ("http-502", "502 Bad Gateway"),
        ("http-503", "503 Service Unavailable"),
        ("http-504", "504 Gateway Time-out"),
    ] {
        let running = Running::start(&[fault]);
        let reply = running.ask(GET_BLOCK).await.unwrap();
        assert!(title.starts_with(&reply.status.to_string()));
        assert!(reply.text().contains(&format!("<title>{title}</title>")), "{}", reply.text());
        assert!(reply.headers.contains("content-type: text/html\r\n"));
        running.stop().await;
    }
}

#[tokio::test]
async fn answers_that_are_no_json() {
    let running = Running::start(&["text:times=1"]);
    let text = running.ask(GET_BLOCK).await.unwrap();
    assert_eq!((text.status, &text.text()[..16]), (200, "11 eof_exception"));
    let whole = running.ask(GET_BLOCK).await.unwrap();
    running.set("truncated:times=1");
    let half = running.ask(GET_BLOCK).await.unwrap();
    assert_eq!((half.status, half.body.len()), (200, whole.body.len() / 2));
    assert_eq!(half.text(), &whole.text()[..half.body.len()]);
    running.set("cut:times=1");
    assert_eq!(running.ask(GET_BLOCK).await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    running.set("drop:times=1");
    let dropped = running.ask(GET_BLOCK).await.err().unwrap().kind();
    assert!([io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&dropped), "{dropped}");
    assert_eq!(running.ask(GET_BLOCK).await.unwrap().body, whole.body);
    running.stop().await;
}

#[tokio::test]
async fn errors_with_the_status_of_some_proxies() {
    let running = Running::start(&["rpc-lock:status=500:times=1"]);
    let lock = running.ask(GET_BLOCK).await.unwrap();
    assert_eq!(
        (lock.status, &lock.json()["error"]["message"]),
        (500, &json!("Unable to acquire database lock"))
    );
    assert_eq!(running.ask(GET_BLOCK).await.unwrap().status, 200);
    running.stop().await;
}

#[tokio::test]
async fn late_answers_and_none() {
    let running = Running::start(&["slow:120ms:times=1", "hang:method=get_block"]);
    let begun = Instant::now();
    assert_eq!(running.ask(PROPERTIES).await.unwrap().status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(120));
    let hanging = running.ask(GET_BLOCK);
    assert!(timeout(Duration::from_millis(100), hanging).await.is_err());
    assert_eq!(running.ask(PROPERTIES).await.unwrap().status, 200);
    // One that hangs doesn't keep the node from stopping.
    let mut stream = running.connect().await.unwrap();
    stream.write_all(post(&request(GET_BLOCK), "").as_bytes()).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_method_filter_leaves_the_others_alone() {
    let running = Running::start(&["http-502:method=block_api.get_block"]);
    assert_eq!(running.ask(GET_BLOCK).await.unwrap().status, 502);
    assert_eq!(running.ask(PROPERTIES).await.unwrap().status, 200);
    let batch = format!("[{},{}]", request(PROPERTIES), request(GET_BLOCK));
    assert_eq!(running.post(&batch).await.unwrap().status, 502);
    running.stop().await;
}

/// Whether a new connection is taken, as soon as that is what is wanted.
async fn until_connecting_is(running: &Running, wanted: bool) {
    let end = Instant::now() + DEADLINE;
    while running.connect().await.is_ok() != wanted {
        assert!(Instant::now() < end, "connecting is still {}", !wanted);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn down_refuses_and_comes_back_on_the_same_port() {
    let running = Running::start(&[]);
    let mut kept = running.connect().await.unwrap();
    exchange(&mut kept, &post(&request(GET_BLOCK), "")).await.unwrap();
    for _ in 0..3 {
        let id = running.set("down");
        until_connecting_is(&running, false).await;
        assert_eq!(running.connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            exchange(&mut kept, &post(&request(GET_BLOCK), "")).await.is_err(),
            "kept connections are gone too"
        );
        assert_eq!(running.node.clear_faults(Some(id)), 1);
        until_connecting_is(&running, true).await;
        kept = running.connect().await.unwrap();
        assert_eq!(exchange(&mut kept, &post(&request(GET_BLOCK), "")).await.unwrap().status, 200);
    }
    running.stop().await;
}

#[tokio::test]
async fn down_from_the_start_ends_by_itself() {
    let running = Running::start(&["down:for=2s"]);
    assert_eq!(running.connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    until_connecting_is(&running, true).await;
    assert_eq!(running.ask(GET_BLOCK).await.unwrap().status, 200);
    running.set("down:after=50ms");
    until_connecting_is(&running, false).await;
    running.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_said_clearly() {
    let running = Running::start(&[]);
    let error = Server::bind(running.address, Arc::clone(&running.node)).err().unwrap();
    let text = format!("{error:#}");
    assert!(text.starts_with(&format!("cannot listen on {}: ", running.address)), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn a_fork_for_good_is_kept_before_it_is_seen() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let settings =
        Settings { block_interval: Duration::from_millis(1), irreversible_lag: 500, ..Settings::default() };
    let keep = Arc::clone(&kept);
    let keeper = move |state: &crate::chain::Kept| {
        keep.lock().unwrap().push(state.clone());
        Ok(())
    };
    let node = Node::open(&settings, None, Box::new(keeper)).unwrap();
    node.set_fault("fork:3".parse().unwrap()).unwrap();
    let states = kept.lock().unwrap().clone();
    assert_eq!(states.iter().map(|state| state.branches.len()).collect::<Vec<_>>(), [0, 1]);
    // A node that starts with what was kept has the fork.
    let again = Node::open(&settings, Some(states[1].clone()), Box::new(|_| panic!("nothing new"))).unwrap();
    let number = states[1].branches[0].from;
    let id = |node: &Node| node.view(&crate::faults::Effects::default()).block(number).unwrap().id;
    assert_eq!(id(&node), id(&again));
    let fresh = Node::open(&settings, Some(states[0].clone()), Box::new(|_| Ok(()))).unwrap();
    assert_ne!(id(&node), id(&fresh));
}

#[tokio::test]
async fn half_requests_and_answers_that_nobody_takes_are_given_up() {
    let running = Running::limited(&[], |limits| {
        *limits = Limits { connections_max: 8, request_time_max: Duration::from_millis(300) };
    });
    // Half a head, half a body, nothing, and a whole request after which nothing comes: of each more than there are places.
    let halves = ["POST / HT", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", "", &post(&request("x"), "")];
    let mut open = Vec::new();
    for half in halves.iter().cycle().take(40) {
        let mut stream = running.connect().await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        open.push(stream);
    }
    for mut stream in open {
        let mut said = Vec::new();
        match timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("it is closed") {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            Ok(_) | Err(_) => {}
        }
    }
    // Requests without end, no answer of which is read.
    let mut stream = running.connect().await.unwrap();
    let asked = post(&request("condenser_api.get_dynamic_global_properties"), "").repeat(100);
    let refused = async { while stream.write_all(asked.as_bytes()).await.is_ok() {} };
    timeout(DEADLINE, refused).await.expect("it is closed");
    assert!(running.ask("condenser_api.get_version").await.is_ok());
    running.stop().await;
}

#[tokio::test]
async fn whoever_finds_no_place_is_told_so_at_once() {
    let running = Running::limited(&[], |limits| {
        *limits = Limits { connections_max: 1, request_time_max: Duration::from_secs(3600) };
    });
    let mut first = running.connect().await.unwrap();
    let asked = post(&request("condenser_api.get_version"), "");
    assert_eq!(exchange(&mut first, &asked).await.unwrap().status, 200);
    for _ in 0..3 {
        let refused = running.ask("condenser_api.get_version").await.unwrap();
        assert_eq!(refused.status, 503);
        assert!(refused.headers.contains("retry-after: 1") && refused.headers.contains("connection: close"));
    }
    // More than are told are closed, whatever they say or don't.
    let mut crowd = Vec::new();
    for _ in 0..REFUSALS_MAX + 8 {
        crowd.push(running.connect().await.unwrap());
    }
    for mut stream in crowd {
        let _ = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("it is closed");
    }
    // Who was there before still is.
    assert_eq!(exchange(&mut first, &asked).await.unwrap().status, 200);
    drop(first);
    let free = async {
        while running.ask("condenser_api.get_version").await.map_or(0, |reply| reply.status) != 200 {}
    };
    timeout(DEADLINE, free).await.expect("there is a place again");
    running.stop().await;
}
