//! The answering side: an interface and the functions that answer for its methods.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, Place};
use super::deadline;
use super::description;
use super::request::Request;
use super::wire;
use crate::settings::CallSettings;
use crate::varlink::{Answer, Call, CallError, DirectReply, DuplicateInterface, Service, error_names};

/// An interface whose calls are answered by the application: its description in Varlink's language, what the
/// functions share, and one function for each method.
///
/// ```
/// # use std::sync::Arc;
/// # use procession::calls::{Interface, NoError, NoReply, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Ring {}
/// # impl Request for Ring {
/// #     const METHOD: &'static str = "org.example.Bell.Ring";
/// #     type Reply = NoReply;
/// #     type Error = NoError;
/// # }
/// const BELL: &str = "interface org.example.Bell\n\nmethod Ring() -> ()\n";
///
/// struct Bell;
///
/// impl Bell {
///     async fn ring(self: Arc<Self>, _: Ring) -> Result<NoReply, NoError> {
///         Ok(NoReply {})
///     }
/// }
///
/// let interface = Interface::new(BELL, Arc::new(Bell)).on(Bell::ring);
/// ```
///
/// The functions run as tasks of the application's runtime, several at a time; the settings `calls.concurrency` and
/// `calls.queue` say how many. One is dropped, at its next `await`, when its caller has left or no longer waits.
#[must_use = "nothing is answered before `Process::offer`"]
pub struct Interface<S> {
    description: &'static str,
    shared: Arc<S>,
    methods: BTreeMap<&'static str, Box<dyn Method<S>>>,
}

/// Why an interface can't be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Its functions and its description don't fit.
    #[error("the interface {interface} {what}")]
    Mismatch {
        /// Its name.
        interface: String,
        /// Which method, and what about it.
        what: String,
    },
    /// It is served already.
    #[error(transparent)]
    Duplicate(#[from] DuplicateInterface),
}

type Work = Pin<Box<dyn Future<Output = Result<Written, CallError>> + Send>>;
/// Sends the reply.
type Written = Box<dyn FnOnce(DirectReply) + Send>;

/// A function for one method, with its types forgotten.
trait Method<S>: Send + Sync {
    /// The work of answering one call.
    ///
    /// # Errors
    /// The parameters are not as described.
    fn work(&self, shared: Arc<S>, call: &Call) -> Result<Work, CallError>;
}

struct Typed<F, R>(F, std::marker::PhantomData<fn(R)>);

impl<S, F, R, Fut> Method<S> for Typed<F, R>
where
    S: Send + Sync + 'static,
    R: Request,
    F: Fn(Arc<S>, R) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R::Reply, R::Error>> + Send + 'static,
{
    fn work(&self, shared: Arc<S>, call: &Call) -> Result<Work, CallError> {
        let request: R = call.parameters()?;
        let answer = (self.0)(shared, request);
        Ok(Box::pin(async move {
            match answer.await {
                Ok(reply) => Ok(Box::new(move |to: DirectReply| {
                    to.send(&reply);
                }) as Written),
                Err(error) => Err(wire::refusal(R::METHOD, &error)),
            }
        }))
    }
}

impl<S: Send + Sync + 'static> Interface<S> {
    /// The interface that `description` describes, without any function yet. `shared` is what the functions get.
    pub fn new(description: &'static str, shared: Arc<S>) -> Self {
        Self { description, shared, methods: BTreeMap::new() }
    }

    /// Answers the method of request `R` by `answer`: mostly an `async fn(self: Arc<Self>, R)` of the shared state.
    pub fn on<R, F, Fut>(mut self, answer: F) -> Self
    where
        R: Request,
        F: Fn(Arc<S>, R) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R::Reply, R::Error>> + Send + 'static,
    {
        self.methods.insert(R::METHOD, Box::new(Typed(answer, std::marker::PhantomData)));
        self
    }

    /// Compares the functions with the description.
    fn check(&self) -> Result<&'static str, OfferError> {
        let interface = description::name(self.description);
        let mismatch = |what: String| OfferError::Mismatch { interface: interface.to_owned(), what };
        if interface.is_empty() {
            return Err(mismatch("has a description without a name".to_owned()));
        }
        let described: Vec<&str> = description::methods(self.description).collect();
        for method in self.methods.keys() {
            let own = method.strip_prefix(interface).and_then(|rest| rest.strip_prefix('.'));
            if !own.is_some_and(|own| described.contains(&own)) {
                return Err(mismatch(format!("does not describe {method}")));
            }
        }
        for method in described {
            if !self.methods.contains_key(format!("{interface}.{method}").as_str()) {
                return Err(mismatch(format!("describes {method}, and no function answers it")));
            }
        }
        Ok(interface)
    }

    pub(crate) fn into_service(
        self,
        settings: &CallSettings,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<(Arc<dyn Service>, Serving), OfferError> {
        let interface = self.check()?;
        let tasks = TaskTracker::new();
        let serving = Serving { tasks: tasks.clone(), stop: stop.clone() };
        let admission = Admission::new(settings.concurrency.get(), settings.queue);
        Ok((Arc::new(Desk { interface, offered: self, admission, runtime, tasks, stop }), serving))
    }
}

/// An interface that is being served.
#[derive(Debug, Clone)]
pub struct Serving {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Serving {
    /// Returns once the process is to stop and every call that was in hand then is answered: what a process that only
    /// answers calls ends its `main` with.
    pub async fn finished(self) {
        self.stop.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Takes calls in on the socket's thread and has them worked on by the application's runtime.
struct Desk<S> {
    interface: &'static str,
    offered: Interface<S>,
    admission: Admission,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<S: Send + Sync + 'static> Service for Desk<S> {
    fn interface(&self) -> &'static str {
        self.interface
    }

    fn description(&self) -> &'static str {
        self.offered.description
    }

    fn call(&self, call: Call) -> Answer<'_> {
        let outcome = self.take_in(call);
        Box::pin(std::future::ready(outcome))
    }
}

impl<S: Send + Sync + 'static> Desk<S> {
    fn take_in(&self, call: Call) -> Result<(), CallError> {
        let Some(method) = self.offered.methods.get(call.full_method()) else {
            return Err(call.unknown_method());
        };
        // Before the look at `stop`: whoever waits for the tasks to end then waits for this one, too.
        let _counted = self.tasks.token();
        if self.stop.is_cancelled() {
            return Err(CallError::new(error_names::STOPPING, json!({})));
        }
        // It may have waited in the socket while this process was stopped.
        if !call.oneway() && call.is_abandoned() {
            return Err(CallError::Gone);
        }
        let place = self.admission.admit(call.peer().uid)?;
        let deadline = call.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let work = method.work(Arc::clone(&self.offered.shared), &call)?;
        let reply = call.into_direct();
        let gone = CancellationToken::new();
        reply.on_gone({
            let gone = gone.clone();
            move || gone.cancel()
        });
        self.tasks.spawn_on(
            async move {
                let outcome = tokio::select! {
                    biased;
                    () = gone.cancelled() => return,
                    outcome = work_in_time(&place, deadline, work) => outcome,
                };
                match outcome {
                    Ok(write) => write(reply),
                    Err(error) => reply.fail(error),
                }
            },
            &self.runtime,
        );
        Ok(())
    }
}

/// Works when its turn comes, until the caller no longer waits.
async fn work_in_time(place: &Place, deadline: Option<Instant>, work: Work) -> Result<Written, CallError> {
    let work = place.work(deadline::within(deadline, work));
    let Some(deadline) = deadline else { return work.await };
    match tokio::time::timeout_at(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(CallError::new(error_names::DEADLINE_PASSED, json!({"started": place.is_started()}))),
    }
}
