//! Connections: so many at a time, and none for long that says nothing.
//!
//! Whoever opens connections and sends half a request holds nobody up: at the bound the one that has been silent for
//! longest makes room, and none waits longer than `idle_timeout` for its peer. A stop waits for answers that are being
//! made, for a moment, and for nothing else.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Answers that are being made get this long when the process stops.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(2);
/// Before another connection is taken after one couldn't be.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections are allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    /// A peer must send a request's head, and take what it was sent, within this time.
    pub(crate) idle_timeout: Duration,
}

/// One connection, as the others see it.
#[derive(Debug, Default)]
struct Place {
    /// Who makes or sends an answer on it; nobody: it waits for its peer.
    serving: AtomicUsize,
    /// When it last began to wait, on the clock that counts such beginnings.
    waits_since: AtomicU64,
    /// Another one needs its place.
    leave: CancellationToken,
}

/// The connections that there are.
#[derive(Debug, Default)]
struct Places {
    /// Counts whenever a connection begins to wait.
    clock: AtomicU64,
    /// Locked for a moment only, to add, take away, or look for one that waits.
    taken: Mutex<Vec<Arc<Place>>>,
}

/// A connection's place, which is given back when this goes. Each of its requests has it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    place: Arc<Place>,
    places: Arc<Places>,
}

/// As long as it lives, its connection isn't taken for idle: held while an answer is made, and by answers without end.
#[derive(Debug)]
pub(crate) struct Serving(Connection);

/// Answers until the stop.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                // At the bound, and all of them are being answered: then this one can't be.
                let Some(taken) = places.take(limits.connections_max) else { continue };
                connections.spawn(answer(stream, router.clone(), limits.idle_timeout, taken, stop.clone()));
            }
            Err(error) => {
                // No descriptors left, say: it may pass.
                tracing::warn!(%error, "cannot take a connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_TIME_MAX, finished).await.is_err() {
        tracing::info!(open = connections.len(), "answers are broken off");
    }
}

async fn answer(
    stream: TcpStream,
    router: Router,
    idle_timeout: Duration,
    taken: Connection,
    stop: CancellationToken,
) {
    prepare(&stream, idle_timeout);
    let answers = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(taken.clone());
        answers.call(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = taken.0.place.leave.cancelled() => return,
        () = stop.cancelled() => {
            if !taken.0.place.is_serving() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Small answers go at once, and a peer that takes nothing more is given up by the kernel.
fn prepare(stream: &TcpStream, idle_timeout: Duration) {
    let millis = u32::try_from(idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?));
    if let Err(error) = prepared {
        tracing::debug!(%error, "a connection can't be prepared");
    }
}

impl Places {
    /// A place for a new connection: a free one, or that of the one that has waited for its peer the longest. None if
    /// there is no such.
    fn take(self: &Arc<Self>, connections_max: usize) -> Option<Connection> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= connections_max {
            let idle = taken.iter().enumerate().filter(|(_, place)| !place.is_serving());
            let (longest, _) = idle.min_by_key(|(_, place)| place.waits_since.load(Ordering::Relaxed))?;
            taken.swap_remove(longest).leave.cancel();
        }
        let place = Arc::new(Place::default());
        place.waits_since.store(self.tick(), Ordering::Relaxed);
        taken.push(Arc::clone(&place));
        Some(Connection(Arc::new(Taken { place, places: Arc::clone(self) })))
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

impl Place {
    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0
    }
}

impl Connection {
    /// From now on an answer is made: the request is there as a whole.
    pub(crate) fn serving(&self) -> Serving {
        self.0.place.serving.fetch_add(1, Ordering::Relaxed);
        Serving(self.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Taken { place, places } = &*self.0.0;
        place.waits_since.store(places.tick(), Ordering::Relaxed);
        place.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_its_peer_the_longest_makes_room_and_an_answer_is_never_broken_off() {
        let places = Arc::new(Places::default());
        let [first, second] = [(); 2].map(|()| places.take(2).unwrap());
        let answering = first.serving();
        let third = places.take(2).unwrap();
        assert!(!first.0.place.leave.is_cancelled() && second.0.place.leave.is_cancelled());
        drop(second);
        let both = third.serving();
        assert!(places.take(2).is_none(), "both are being answered");
        drop(both);
        drop(answering);
        // The third has waited longer by now.
        let fourth = places.take(2).unwrap();
        assert!(third.0.place.leave.is_cancelled() && !first.0.place.leave.is_cancelled());
        drop((first, third, fourth));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
