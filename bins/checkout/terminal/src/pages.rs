//! What each route answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::stream::{Stream, unfold};

use crate::assets;
use crate::http::{Desk, token};
use crate::server::Serving;
use crate::trouble::Trouble;

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// A page that hears nothing for twice as long takes the connection for lost.
const ALIVE_EVERY: Duration = Duration::from_secs(8);

/// `GET /`: the first lane.
pub(crate) async fn front() -> Redirect {
    Redirect::to("/lane/1")
}

/// `GET /lane/N`.
pub(crate) async fn lane(State(desk): State<Desk>, Path(lane): Path<String>) -> Response {
    match number(&lane).and_then(|lane| desk.lanes.get(lane)) {
        Ok(lane) => Html(assets::page(lane.number)).into_response(),
        Err(trouble) => (trouble.status, format!("{}\n", trouble.message)).into_response(),
    }
}

/// `GET /assets/NAME`.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match assets::asset(&name) {
        Some(asset) => ([(CONTENT_TYPE, asset.kind)], asset.text).into_response(),
        None => not_found(&name).into_response(),
    }
}

/// `GET /api/products`.
pub(crate) async fn products() -> Response {
    let text = serde_json::to_string(contracts::checkout::products()).expect("numbers and text are JSON");
    (JSON, text).into_response()
}

/// `GET /api/lanes/N`: how things stand.
pub(crate) async fn state(
    State(desk): State<Desk>,
    Path(lane): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let lane = desk.lane(number(&lane)?, token(&headers))?;
    Ok((JSON, lane.look().await).into_response())
}

/// `GET /api/lanes/N/events`: how things stand, now and whenever it changes.
pub(crate) async fn events(
    State(desk): State<Desk>,
    Path(lane): Path<String>,
    uri: Uri,
    Extension(serving): Extension<Arc<Serving>>,
) -> Result<Response, Trouble> {
    // A browser's `EventSource` can't send a header.
    let token = uri.query().and_then(|query| query.strip_prefix("token="));
    let lane = Arc::clone(desk.lane(number(&lane)?, token)?);
    let places = lane.watching().zip(Arc::clone(&desk.watching).try_acquire_owned().ok());
    let Some(places) = places else {
        return Err(Trouble::unavailable(format!("Too many screens show checkout {} already.", lane.number)));
    };
    // As long as the stream lives, so do its places.
    let held = (serving, places);
    let mut shown = lane.shown();
    shown.mark_changed();
    let states: std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>> =
        Box::pin(unfold((shown, desk.shutdown.clone(), held), |(mut shown, shutdown, held)| async move {
            loop {
                tokio::select! {
                    changed = shown.changed() => changed.ok()?,
                    () = shutdown.cancelled() => return None,
                }
                let state = shown.borrow_and_update().to_json();
                // Before the first look there is nothing to show.
                if let Some(state) = state {
                    return Some((Ok(Event::default().event("state").data(state)), (shown, shutdown, held)));
                }
            }
        }));
    let alive = KeepAlive::new().interval(ALIVE_EVERY).event(Event::default().event("alive").data("{}"));
    Ok(Sse::new(states).keep_alive(alive).into_response())
}

/// `POST /api/lanes/N/ACTION`: does something, and says how things stand then.
pub(crate) async fn act(
    State(desk): State<Desk>,
    Path((lane, action)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Trouble> {
    let lane = desk.lane(number(&lane)?, token(&headers))?;
    lane.act(&action, &body).await?;
    Ok((JSON, lane.look().await).into_response())
}

/// Whatever else is asked for.
pub(crate) async fn nothing(uri: Uri) -> Trouble {
    not_found(uri.path())
}

fn not_found(what: &str) -> Trouble {
    Trouble::new(
        StatusCode::NOT_FOUND,
        "NotFound",
        format!("There is no {what:?} here; the first lane is at /lane/1."),
    )
}

fn number(text: &str) -> Result<u32, Trouble> {
    text.parse().map_err(|_| Trouble::bad_request(format!("{text:?} is no lane: they are numbered from 1.")))
}
