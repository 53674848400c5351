//! One JSON-RPC request to one node over HTTP.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Url, redirect};
use serde::Serialize;

use crate::controls;
use crate::failure::{Failure, result_of};

/// No true answer comes near: a block has at most 2 MB, and a range is asked for in small pieces.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longer than this nobody tells us to stay away.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The HTTP clients that all nodes share.
pub(crate) struct Http {
    plain: Option<Client>,
    secure: Option<Client>,
    timeout: Duration,
}

impl Http {
    /// Clients are made when the first node needs them: loading the system's certificates takes longer than
    /// everything else at start, and a node at `http://` has no use for them.
    pub(crate) fn new(timeout: Duration) -> Self {
        Http { plain: None, secure: None, timeout }
    }

    /// The client for a URL of a node.
    pub(crate) fn client(&mut self, url: &Url) -> Result<Client, HttpError> {
        // Fails only if another provider is there already, which then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (slot, builder) = match url.scheme() {
            "https" => (&mut self.secure, builder(self.timeout)),
            // A plain node is on this machine or beside it: no certificates, no proxy.
            _ => (&mut self.plain, builder(self.timeout).tls_certs_only([]).no_proxy()),
        };
        match slot {
            Some(client) => Ok(client.clone()),
            None => Ok(slot.insert(builder.build().map_err(HttpError)?).clone()),
        }
    }
}

/// No HTTP client can be made: the system's certificates can't be read, most likely.
#[derive(Debug)]
pub(crate) struct HttpError(reqwest::Error);

impl fmt::Display for HttpError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(
            "no HTTPS client can be made: are the system's certificates (package ca-certificates) there?",
        )
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("procession-broadcaster/", env!("CARGO_PKG_VERSION")))
        // A redirected POST becomes a GET: it can't succeed.
        .redirect(redirect::Policy::none())
        .connect_timeout(timeout)
        // Silence in the middle of a long answer.
        .read_timeout(timeout)
        .pool_max_idle_per_host(2)
}

/// A way to one node.
#[derive(Clone)]
pub(crate) struct Rpc {
    url: Url,
    client: Client,
}

/// The whole body of an answer that holds a result.
pub(crate) struct Answer {
    body: String,
    result: Range<usize>,
}

impl Answer {
    /// The result: the JSON text as it was served.
    pub(crate) fn result(&self) -> &str {
        &self.body[self.result.clone()]
    }
}

impl Rpc {
    pub(crate) fn new(url: Url, client: Client) -> Self {
        Rpc { url, client }
    }

    /// Calls `method`; the whole exchange takes at most `timeout`.
    pub(crate) async fn call(
        &self,
        method: &str,
        params: impl Serialize,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        #[derive(Serialize)]
        struct Request<'a, P> {
            jsonrpc: &'a str,
            method: &'a str,
            params: P,
            id: u32,
        }
        let request = Request { jsonrpc: "2.0", method, params, id: 1 };
        let request = serde_json::to_vec(&request).expect("plain data becomes JSON");
        let request =
            self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(request);
        let mut response = request.timeout(timeout).send().await.map_err(transport)?;

        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLarge { bytes_max: ANSWER_BYTES_MAX });
            }
            bytes.extend_from_slice(&chunk);
        }
        answer_of(status, retry_after, text(bytes))
    }
}

/// The answer that a body holds. One that is JSON but for control bytes in its strings is read all the same.
fn answer_of(status: u16, retry_after: Option<Duration>, body: String) -> Result<Answer, Failure> {
    // The result is a piece of the body: remember where, rather than reading megabytes twice.
    let place = |body: &str| {
        let result = result_of(status, retry_after, body)?.get();
        let start = result.as_ptr().addr() - body.as_ptr().addr();
        Ok(start..start + result.len())
    };
    let failure = match place(&body) {
        Ok(result) => return Ok(Answer { body, result }),
        Err(failure) => failure,
    };
    match controls::escaped(&body).filter(|_| matches!(failure, Failure::NotJson { .. })) {
        Some(body) => {
            let result = place(&body)?;
            tracing::debug!("an answer has control bytes in its strings; they are escaped");
            Ok(Answer { body, result })
        }
        None => Err(failure),
    }
}

/// The body as text. Bytes that aren't UTF-8 can't be kept in JSON, and must not hold up the chain either.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "an answer isn't UTF-8; the odd bytes become U+FFFD");
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}

fn transport(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    // The innermost cause says what happened; the others where in the HTTP stack.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Failure::Transport { what: cause.to_string() }
}
