//! The calling side: one server, asked by any number of tasks.

use std::fmt;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::deadline;
use super::failure::Failure;
use super::request::{Refusal, Request};
use super::wire;
use crate::settings::CallSettings;
use crate::varlink::{Client, ClientError, Endpoint, Received, Unproven, error_names};

/// Calls of one caller at a time; further ones wait for a connection, up to their deadline.
const CONNECTIONS_MAX: usize = 32;
/// The first and the longest pause before a server that isn't there is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Calls the methods of one server. Cheap to clone; the clones share their connections, which belong to the runtime
/// that the calls are made on.
///
/// ```no_run
/// # use procession::calls::Request;
/// # async fn f<R: Request>(process: procession::Process<procession::NoSettings>, request: R)
/// # -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let basket = process.caller("basket")?;
/// match basket.call(&request).await {
///     Ok(reply) => drop(reply),
///     Err(failure) if failure.is_uncertain() => println!("it may have been done: {failure}"),
///     Err(failure) => println!("it was not done: {failure}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// - Each call has a deadline: [`within`](Self::within), and never later than that of the call in whose course it is
///   made ([`deadline`](super::deadline())). The server is told.
/// - A server that isn't there is tried again, with growing pauses, as long as the patience lasts: one that is just
///   being restarted is only slow.
/// - If the connection is lost during a call, it is repeated if nothing can have come of it, or if the request is
///   [idempotent](Request::IDEMPOTENT).
/// - A call that is dropped is given up: the server drops its work.
#[derive(Clone)]
pub struct Caller {
    pool: Arc<Pool>,
    timeout: Duration,
    patience: Duration,
}

/// Connections to one server.
struct Pool {
    server: String,
    endpoint: Endpoint,
    /// Connections without a call. Locked to take one and to give it back.
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("endpoint", &self.pool.endpoint).finish_non_exhaustive()
    }
}

/// What became of one attempt.
enum Attempt<T, E: Refusal> {
    Done(T),
    Failed(Failure<E>),
    /// Nothing was done, for this reason.
    Undone(String),
    /// The connection was lost with the call in the server's hands.
    Lost(String),
}

impl Caller {
    /// Calls the process at `endpoint`. `server` is what to call it in messages. In a process there is
    /// [`Process::caller`](crate::Process::caller).
    #[must_use]
    pub fn new(server: &str, endpoint: Endpoint, settings: &CallSettings) -> Self {
        let pool = Pool {
            server: server.to_owned(),
            endpoint,
            idle: Mutex::default(),
            permits: Semaphore::new(CONNECTIONS_MAX),
        };
        Self { pool: Arc::new(pool), timeout: settings.timeout, patience: settings.patience }
    }

    /// Calls that must be answered within `timeout`.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Calls that try for so long to reach a server that isn't there; zero: once.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// What the server refuses with, or why there is no reply.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Reply, Failure<R::Error>> {
        let began = Instant::now();
        let until = deadline::until(self.timeout);
        let mut pause = Pause::new(deadline::after(began, self.patience), until);
        let late = |uncertain| self.late(began, uncertain);
        // Whether an earlier attempt may have been carried out.
        let mut uncertain = false;
        let Ok(permit) = timeout_at(until, self.pool.permits.acquire()).await else {
            return Err(late(uncertain));
        };
        let _permit = permit.expect("the semaphore is never closed");
        loop {
            let sent = &mut false;
            let reason = match timeout_at(until, self.attempt(request, until, sent)).await {
                Err(_) => return Err(late(uncertain || *sent)),
                Ok(Attempt::Done(reply)) => return Ok(reply),
                Ok(Attempt::Failed(Failure::Deadline { uncertain: started, .. })) => {
                    return Err(late(uncertain || started));
                }
                // What can be said of this attempt doesn't hold for the one before.
                Ok(Attempt::Failed(failure)) if uncertain && failure.refusal().is_none() => {
                    return Err(self.lost(failure.to_string()));
                }
                Ok(Attempt::Failed(failure)) => return Err(failure),
                Ok(Attempt::Undone(reason)) => reason,
                Ok(Attempt::Lost(reason)) if R::IDEMPOTENT => {
                    uncertain = true;
                    // It was there a moment ago: patience begins anew.
                    pause = Pause::new(deadline::after(Instant::now(), self.patience), until);
                    reason
                }
                Ok(Attempt::Lost(reason)) => return Err(self.lost(reason)),
            };
            tracing::debug!(server = self.pool.server, method = R::METHOD, reason, "trying again");
            if !pause.wait().await {
                return Err(self.given_up(reason, began, until, uncertain));
            }
        }
    }

    async fn attempt<R: Request>(
        &self,
        request: &R,
        until: Instant,
        sent: &mut bool,
    ) -> Attempt<R::Reply, R::Error> {
        let (mut client, reused) = match self.pool.take().await {
            Ok(taken) => taken,
            Err(error) => return self.not_connected(&error),
        };
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // From here on the server may have it, also if this future is dropped.
        *sent = true;
        if let Err(error) = client.send_within(R::METHOD, request, left).await {
            *sent = false;
            return Attempt::Failed(self.misunderstood::<R>(error.to_string(), false));
        }
        *sent = client.is_sent();
        let received = client.receive::<R::Reply>().await;
        let whole = client.is_sent();
        if client.is_idle() && !is_last_word(&received) {
            self.pool.give_back(client);
        }
        match received {
            Ok(reply) => Attempt::Done(reply.parameters),
            Err(ClientError::Error { name, parameters }) => self.answered::<R>(&name, &parameters, reused),
            Err(ClientError::Disconnected) if !whole => {
                Attempt::Undone("it closed the connection".to_owned())
            }
            Err(ClientError::Disconnected) => Attempt::Lost("the connection was closed".to_owned()),
            Err(error) => Attempt::Failed(self.misunderstood::<R>(error.to_string(), true)),
        }
    }

    /// An error reply: of the application, of the call layer, or of Varlink.
    fn answered<R: Request>(
        &self,
        name: &str,
        parameters: &Value,
        reused: bool,
    ) -> Attempt<R::Reply, R::Error> {
        let server = || self.pool.server.clone();
        let number = |field: &str| parameters.get(field).and_then(Value::as_u64).unwrap_or_default();
        let failure = match name {
            error_names::BUSY | error_names::TOO_MANY_CONNECTIONS => {
                Failure::Busy { server: server(), limit: number("limit") }
            }
            error_names::DEADLINE_PASSED => {
                let started = parameters.get("started").and_then(Value::as_bool).unwrap_or(true);
                Failure::Deadline { server: server(), after: Duration::ZERO, uncertain: started }
            }
            error_names::STOPPING => return Attempt::Undone("it is about to end".to_owned()),
            // It closed an idle connection just when we took it.
            error_names::TIMED_OUT if reused => return Attempt::Undone("the connection was idle".to_owned()),
            error_names::NO_REPLY => {
                let reason = parameters.get("reason").and_then(Value::as_str).unwrap_or_default();
                self.lost(reason.to_owned())
            }
            error_names::METHOD_NOT_FOUND
            | error_names::METHOD_NOT_IMPLEMENTED
            | error_names::INTERFACE_NOT_FOUND => {
                Failure::NotOffered { server: server(), method: R::METHOD.to_owned() }
            }
            error_names::PERMISSION_DENIED => {
                Failure::Unreachable { server: server(), reason: "this user may not call it".to_owned() }
            }
            _ => match wire::read_refusal(R::METHOD, name, parameters) {
                Some(refusal) => Failure::Refused(refusal),
                None => self.misunderstood::<R>(format!("{name} {parameters}"), false),
            },
        };
        Attempt::Failed(failure)
    }

    fn not_connected<T, E: Refusal>(&self, error: &ClientError) -> Attempt<T, E> {
        let reason = error.to_string();
        match error {
            // Its state folder is the first thing that a process makes.
            ClientError::Connect { source, .. } | ClientError::Unproven(Unproven::NoOwner { source, .. })
                if may_come_back(source.kind()) =>
            {
                Attempt::Undone(reason)
            }
            _ => Attempt::Failed(Failure::Unreachable { server: self.pool.server.clone(), reason }),
        }
    }

    fn given_up<E: Refusal>(
        &self,
        reason: String,
        began: Instant,
        until: Instant,
        uncertain: bool,
    ) -> Failure<E> {
        if uncertain {
            return self.lost(reason);
        }
        if Instant::now() >= until {
            return self.late(began, false);
        }
        Failure::Unreachable { server: self.pool.server.clone(), reason }
    }

    fn late<E: Refusal>(&self, began: Instant, uncertain: bool) -> Failure<E> {
        Failure::Deadline { server: self.pool.server.clone(), after: began.elapsed(), uncertain }
    }

    fn lost<E: Refusal>(&self, reason: String) -> Failure<E> {
        Failure::Lost { server: self.pool.server.clone(), reason }
    }

    fn misunderstood<R: Request>(&self, reason: String, uncertain: bool) -> Failure<R::Error> {
        let (server, method) = (self.pool.server.clone(), R::METHOD.to_owned());
        Failure::Misunderstood { server, method, reason, uncertain }
    }
}

impl Pool {
    /// A connection, and whether it has been used before.
    async fn take(&self) -> Result<(Client, bool), ClientError> {
        while let Some(client) = self.pop() {
            if client.is_fresh() {
                return Ok((client, true));
            }
        }
        Ok((Client::connect_to(&self.endpoint).await?, false))
    }

    fn pop(&self) -> Option<Client> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, client: Client) {
        // As many as there may be calls, so that the list is bounded by the permits.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}

/// Whether the server closes the connection after this reply.
fn is_last_word<T>(received: &Result<Received<T>, ClientError>) -> bool {
    match received {
        Ok(_) => false,
        Err(ClientError::Error { name, .. }) => matches!(
            name.as_str(),
            error_names::TIMED_OUT
                | error_names::TOO_MANY_CONNECTIONS
                | error_names::PERMISSION_DENIED
                | error_names::MALFORMED
                | error_names::MESSAGE_TOO_LARGE
                | error_names::NESTED_TOO_DEEPLY
        ),
        Err(_) => true,
    }
}

/// Whether a server that can't be connected to may only be on its way up.
fn may_come_back(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Pauses between attempts, which grow, with some chance in them so that many callers don't come at once.
struct Pause {
    next: Duration,
    until: Instant,
}

impl Pause {
    fn new(patience: Instant, deadline: Instant) -> Self {
        Self { next: PAUSE_MIN, until: patience.min(deadline) }
    }

    /// False when there is no time for a further attempt.
    async fn wait(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.until {
            return false;
        }
        let pause = self.next.mul_f64(rand::rng().random_range(0.5..1.0));
        self.next = (self.next * 2).min(PAUSE_MAX);
        sleep_until((now + pause).min(self.until)).await;
        true
    }
}
