//! The node over HTTP: hyper itself, since a node that fails on purpose must be able to break off an
//! answer, to give none, and to refuse connections.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, SERVER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::faults::Transport;
use crate::node::Node;
use crate::rpc;

/// What hived itself takes as a maximum, and more than any request of a reader.
const REQUEST_BYTES_MAX: usize = 2 << 20;
const CONNECTIONS_MAX: usize = 1024;
/// So many more are told that there is no place, each within this time; yet more are closed.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// A client must have sent its request, or the next one on a kept connection, and taken its answer within this time.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);
/// A request that is never answered is given up after this time at last.
const HANG_TIME_MAX: Duration = Duration::from_secs(600);
/// Connections get this long to finish when the node stops.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(1);
/// Shorter answers aren't worth compressing.
const GZIP_BYTES_MIN: usize = 1024;

/// The socket: open for connections, or bound but refusing them, so that nobody else takes the port.
enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
}

pub(crate) struct Server {
    address: SocketAddr,
    door: Door,
    node: Arc<Node>,
    limits: Limits,
}

/// What clients are allowed. A web page that has somebody's browser ask here learns what every node of the chain tells
/// everybody, and changes nothing: hosts and origins don't matter.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections_max: usize,
    request_time_max: Duration,
}

impl Server {
    pub(crate) fn bind(listen: SocketAddr, node: Arc<Node>) -> Result<Self> {
        let socket = bound(listen)?;
        let address = socket.local_addr()?;
        let door = if node.is_down() { Door::Shut(socket) } else { Door::Open(open(socket, address)?) };
        let limits = Limits { connections_max: CONNECTIONS_MAX, request_time_max: REQUEST_TIME_MAX };
        Ok(Self { address, door, node, limits })
    }

    /// Where it listens; with port 0 asked for, the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests, and refuses connections while the node is down, until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut door = self.door;
        loop {
            let listener = match door {
                Door::Open(listener) => listener,
                Door::Shut(socket) => {
                    tokio::select! {
                        () = self.node.until_down_is(false) => {}
                        () = shutdown.cancelled() => return Ok(()),
                    }
                    open(socket, self.address)?
                }
            };
            let mut connections = JoinSet::new();
            tokio::select! {
                () = accept(&listener, &mut connections, &self.node, self.limits, &shutdown) => {}
                () = self.node.until_down_is(true) => {}
                () = shutdown.cancelled() => {
                    drop(listener);
                    let finished = async { while connections.join_next().await.is_some() {} };
                    _ = timeout(SHUTDOWN_TIME_MAX, finished).await;
                    return Ok(());
                }
            }
            drop(listener);
            let socket = bound(self.address)?;
            connections.shutdown().await;
            door = Door::Shut(socket);
        }
    }
}

fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of a moment ago may linger on this port.
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket)
}

fn open(socket: TcpSocket, address: SocketAddr) -> Result<TcpListener> {
    socket.listen(1024).with_context(|| format!("cannot listen on {address}"))
}

async fn accept(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    node: &Arc<Node>,
    limits: Limits,
    shutdown: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (node, shutdown) = (Arc::clone(node), shutdown.clone());
                match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => drop(connections.spawn(async move {
                        connection(stream, node, limits.request_time_max, shutdown).await;
                        drop(place);
                    })),
                    Err(_) => match Arc::clone(&refusals).try_acquire_owned() {
                        Ok(place) => drop(connections.spawn(async move {
                            refuse(stream).await;
                            drop(place);
                        })),
                        // Closed at once.
                        Err(_) => drop(stream),
                    },
                }
            }
            Err(error) => {
                // No descriptors left, say: it may pass.
                tracing::warn!(%error, "cannot take a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, node: Arc<Node>, time_max: Duration, shutdown: CancellationToken) {
    _ = stream.set_nodelay(true);
    // Who takes nothing of its answer is given up by the kernel.
    let millis = u32::try_from(time_max.as_millis()).unwrap_or(u32::MAX);
    _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, millis);
    let service = service_fn(move |request| answer(Arc::clone(&node), request, time_max));
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(time_max)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// There is no place for another connection. Who asks is told so at once, and doesn't wait for others to be done.
async fn refuse(stream: TcpStream) {
    let full =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Dropped>(html(StatusCode::SERVICE_UNAVAILABLE)) });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REFUSAL_TIME_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), full);
    _ = timeout(REFUSAL_TIME_MAX, connection).await;
}

/// The answer to one HTTP request; an error closes the connection without one.
async fn answer(
    node: Arc<Node>,
    request: Request<Incoming>,
    time_max: Duration,
) -> Result<Response<Answer>, Dropped> {
    if request.uri().path() != "/" {
        return Ok(html(StatusCode::NOT_FOUND));
    }
    if request.method() != Method::POST {
        let mut response = html(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, "POST".parse().expect("it is plain ASCII"));
        return Ok(response);
    }
    let accepted = request.headers().get_all(ACCEPT_ENCODING).iter();
    let gzip = accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains("gzip"));
    let body = match timeout(time_max, Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Ok(html(StatusCode::PAYLOAD_TOO_LARGE)),
        Ok(Err(_)) | Err(_) => return Err(Dropped),
    };
    answer_body(&node, &body, gzip).await
}

async fn answer_body(node: &Node, body: &[u8], gzip: bool) -> Result<Response<Answer>, Dropped> {
    let parsed = rpc::Body::parse(body);
    let requests = parsed.as_ref().map_or_else(|_| &[][..], rpc::Body::requests);
    let mut methods: Vec<_> = requests.iter().map(rpc::method_name).collect();
    if parsed.is_err() {
        methods.push(None);
    }
    let effects = node.effects(&methods);
    let delay = effects.iter().map(|effect| effect.delay).max().unwrap_or_default();
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let transport = effects.iter().find_map(|effect| effect.transport);
    match transport {
        Some(Transport::Drop) => return Err(Dropped),
        Some(Transport::Hang) => {
            sleep(HANG_TIME_MAX).await;
            return Err(Dropped);
        }
        Some(Transport::Http(status)) => {
            return Ok(html(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)));
        }
        Some(Transport::Text) => return Ok(text()),
        Some(Transport::Truncated | Transport::Cut) | None => {}
    }
    let text = match &parsed {
        Ok(body) => {
            let answers = requests.iter().zip(&effects).map(|(request, effects)| {
                let view = node.view(effects);
                rpc::answer(request, &view, effects)
            });
            body.joined(answers.collect())
        }
        Err(error) => rpc::error(&Value::Null, error),
    };
    let status = effects.iter().find_map(|effect| effect.rpc.and_then(|(_, status)| status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    Ok(json(status, Box::<str>::from(text).into(), gzip, transport))
}

fn json(status: StatusCode, text: String, gzip: bool, transport: Option<Transport>) -> Response<Answer> {
    let mut bytes = text.into_bytes();
    if transport == Some(Transport::Truncated) {
        bytes.truncate(bytes.len() / 2);
    }
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if gzip && bytes.len() >= GZIP_BYTES_MIN {
        bytes = compressed(&bytes);
        response = response.header(CONTENT_ENCODING, "gzip");
    }
    let answer = if transport == Some(Transport::Cut) { Answer::cut(bytes) } else { Answer::whole(bytes) };
    response.header(SERVER, "nginx").body(answer).expect("its parts are constants")
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 3), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory doesn't fail")
}

/// What a proxy says when it has no answer.
fn html(status: StatusCode) -> Response<Answer> {
    let title = match status {
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
        _ => format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or("Error")),
    };
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response =
        Response::builder().status(status).header(CONTENT_TYPE, "text/html").header(SERVER, "nginx");
    if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
        response = response.header(RETRY_AFTER, "1");
    }
    response.body(Answer::whole(page.into_bytes())).expect("its parts are constants")
}

/// What some nodes answer, with status 200, where JSON is expected.
fn text() -> Response<Answer> {
    const TEXT: &str =
        "11 eof_exception: End Of File\nstringstream\n    {}\n    th_a  sstream.cpp:109 peek\n";
    let response = Response::builder().header(SERVER, "nginx");
    response.body(Answer::whole(TEXT.as_bytes().to_vec())).expect("its parts are constants")
}

/// A body in one piece, which can break off in the middle of what was promised.
struct Answer {
    data: Option<Bytes>,
    /// How many of the promised bytes never come.
    missing: u64,
}

impl Answer {
    fn whole(bytes: Vec<u8>) -> Self {
        Self { data: Some(bytes.into()), missing: 0 }
    }

    fn cut(mut bytes: Vec<u8>) -> Self {
        let half = bytes.len() / 2;
        let missing = (bytes.len() - half) as u64;
        bytes.truncate(half);
        Self { data: Some(bytes.into()), missing }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        Poll::Ready(match self.data.take() {
            Some(data) => Some(Ok(Frame::data(data))),
            None if self.missing > 0 => Some(Err(Dropped)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64) + self.missing)
    }
}

/// The connection is to be closed without (the rest of) an answer.
#[derive(Debug)]
struct Dropped;

impl std::error::Error for Dropped {}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dropped on purpose")
    }
}

#[cfg(test)]
mod tests;
