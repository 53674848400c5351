//! An interface that a server answers for, and the set of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use super::call::{Call, CallError};
use super::rights::Right;

/// What a service returns: the work of answering one call. An error becomes
/// the reply, unless there was one already.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send + 'a>>;

/// One Varlink interface.
///
/// Runs on the server's own thread: whatever takes long or blocks belongs
/// elsewhere (a [`Call`] can be sent there). The future is dropped when the
/// caller leaves.
pub trait Service: Send + Sync + 'static {
    /// Its name: `io.procession.Journal`.
    fn interface(&self) -> &'static str;

    /// Its description in Varlink's language, served as it is.
    fn description(&self) -> &'static str;

    /// What its method, named without the interface, lets a caller do: who hasn't that right is refused. Methods that
    /// the interface doesn't have included.
    fn right(&self, method: &str) -> Right {
        let _ = method;
        Right::Call
    }

    /// Answers one call of it.
    fn call(&self, call: Call) -> Answer<'_>;
}

/// The interface is served already.
#[derive(Debug, thiserror::Error)]
#[error("the interface {interface} is served already")]
pub struct DuplicateInterface {
    /// Its name.
    pub interface: &'static str,
}

/// The interfaces of a server, by name.
#[derive(Default)]
pub(super) struct Registry {
    /// A lock because an application adds its interfaces while the server's
    /// thread is answering already.
    services: RwLock<BTreeMap<&'static str, Arc<dyn Service>>>,
    /// Further interfaces may come: who asks for one that isn't there waits for it.
    incomplete: AtomicBool,
    changed: Notify,
}

impl Registry {
    pub(super) fn add(&self, service: Arc<dyn Service>) -> Result<(), DuplicateInterface> {
        let interface = service.interface();
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        if services.contains_key(interface) {
            return Err(DuplicateInterface { interface });
        }
        services.insert(interface, service);
        drop(services);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Whether further interfaces may come.
    pub(super) fn set_incomplete(&self, incomplete: bool) {
        self.incomplete.store(incomplete, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The interface, once it is there; none when it is clear that it won't come.
    pub(super) async fn expect(&self, interface: &str) -> Option<Arc<dyn Service>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no change between look and wait is missed.
            changed.as_mut().enable();
            let found = self.find(interface);
            if found.is_some() || !self.incomplete.load(Ordering::Acquire) {
                // It may have come just before the set was complete.
                return found.or_else(|| self.find(interface));
            }
            changed.await;
        }
    }

    pub(super) fn find(&self, interface: &str) -> Option<Arc<dyn Service>> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.get(interface).map(Arc::clone)
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.keys().copied().collect()
    }
}
