//! The way in: routes, and what every answer says about itself.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::AsHeaderName;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_body_util::LengthLimitError;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::lane::{Lane, Lanes};
use crate::pages;
use crate::screens::Screens;
use crate::server::Connection;
use crate::settings::Settings;
use crate::trouble::Trouble;

/// More than any action needs.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Nothing is loaded from elsewhere, nothing is inline, and no other page may show this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FETCH_SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) shutdown: CancellationToken,
    /// Half of all connections: those who watch leave room for those who act.
    pub(crate) watching: Arc<Semaphore>,
    screens: Arc<Screens>,
}

impl Desk {
    pub(crate) fn new(
        lanes: Arc<Lanes>,
        screens: Screens,
        shutdown: CancellationToken,
        connections_max: usize,
    ) -> Self {
        Desk {
            lanes,
            shutdown,
            watching: Arc::new(Semaphore::new(connections_max.div_ceil(2))),
            screens: Arc::new(screens),
        }
    }

    /// The lane of this number, for whoever may use it.
    pub(crate) fn lane(&self, number: u32, token: Option<&str>) -> Result<&Arc<Lane>, Trouble> {
        let lane = self.lanes.get(number)?;
        self.screens.check(number, token)?;
        Ok(lane)
    }
}

/// Under which names it may be asked for, and how much time a request has to come in.
struct Door {
    listen: SocketAddr,
    hosts: Vec<String>,
    body_timeout: Duration,
}

pub(crate) fn router(desk: Desk, settings: &Settings) -> Router {
    let door = Arc::new(Door {
        listen: settings.listen,
        hosts: settings.hosts.clone(),
        body_timeout: settings.idle_timeout,
    });
    Router::new()
        .route("/", get(pages::front))
        .route("/lane/{lane}", get(pages::lane))
        .route("/assets/{name}", get(pages::asset))
        .route("/api/products", get(pages::products))
        .route("/api/lanes/{lane}", get(pages::state))
        .route("/api/lanes/{lane}/events", get(pages::events))
        .route("/api/lanes/{lane}/{action}", post(pages::act))
        .fallback(pages::nothing)
        .layer(middleware::from_fn_with_state(door, guard))
        .with_state(desk)
}

/// Lets in who means this server and comes from its own pages, and marks every answer.
async fn guard(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let whole = match door.check(&request) {
        Ok(()) => door.receive(request).await,
        Err(trouble) => Err(trouble),
    };
    let mut response = match whole {
        Ok(mut request) => {
            let serving = Arc::new(connection.serving());
            request.extensions_mut().insert(Arc::clone(&serving));
            let response = next.run(request).await;
            drop(serving);
            response
        }
        Err(trouble) => trouble.into_response(),
    };
    let mut mark = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    mark(CONTENT_SECURITY_POLICY, POLICY);
    mark(X_CONTENT_TYPE_OPTIONS, "nosniff");
    mark(REFERRER_POLICY, "no-referrer");
    mark(CACHE_CONTROL, "no-store");
    response
}

impl Door {
    /// Another site could lead a browser here under a name of its own, or have it post what it likes.
    fn check(&self, request: &Request<Body>) -> Result<(), Trouble> {
        let headers = request.headers();
        let forbidden = |message: String| Err(Trouble::new(StatusCode::FORBIDDEN, "Forbidden", message));
        // Of two names, or one in the request's first line, each could be the one that counts for somebody.
        let alone = headers.get_all(HOST).iter().count() == 1 && request.uri().authority().is_none();
        let host = text(headers, HOST).filter(|_| alone);
        let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
            return Err(Trouble::bad_request("The request must name one host, by the header Host."));
        };
        if !self.is_ours(host.host()) {
            return forbidden(format!(
                "{} is no name of this server: the setting `hosts` allows more.",
                host.host()
            ));
        }
        let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
        // What a browser says of where a request comes from. A link may lead here, and the address may be typed.
        let site = text(headers, FETCH_SITE);
        let visits = reads && (site == Some("none") || text(headers, FETCH_MODE) == Some("navigate"));
        if site.is_some_and(|site| site != "same-origin") && !visits {
            return forbidden("Only this server's own pages may do that.".to_owned());
        }
        if reads {
            return Ok(());
        }
        let from = text(headers, ORIGIN);
        if from.is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host.as_str())) {
            return forbidden("Only this server's own pages may do that.".to_owned());
        }
        // A form of another site can't say this.
        if !text(headers, CONTENT_TYPE).is_some_and(is_json) {
            let message = "The request's body must be application/json.";
            return Err(Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
        Ok(())
    }

    /// The request with its whole body, of which only so much may come, and only for so long.
    async fn receive(&self, request: Request) -> Result<Request, Trouble> {
        let (head, body) = request.into_parts();
        let body = timeout(self.body_timeout, to_bytes(body, BODY_BYTES_MAX)).await;
        let trouble = |status, error: &str, message: &str| Err(Trouble::new(status, error, message));
        match body {
            Ok(Ok(body)) => Ok(Request::from_parts(head, body.into())),
            Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
                trouble(StatusCode::PAYLOAD_TOO_LARGE, "BadRequest", "The request's body is too large.")
            }
            Ok(Err(_)) => trouble(StatusCode::BAD_REQUEST, "BadRequest", "The request's body can't be read."),
            Err(_) => trouble(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "The request's body has not come in time.",
            ),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        // Nobody else can own an address; a name could be anybody's.
        host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| {
                address.is_loopback() || address == self.listen.ip() || self.listen.ip().is_unspecified()
            })
            || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The token in a request's header.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    text(headers, AUTHORIZATION)?.strip_prefix("Bearer ")
}

/// JSON is UTF-8, and may say so.
fn is_json(kind: &str) -> bool {
    let (kind, parameter) = kind.split_once(';').map_or((kind, None), |(kind, rest)| (kind, Some(rest)));
    kind.trim_end().eq_ignore_ascii_case("application/json")
        && parameter.is_none_or(|parameter| parameter.trim().eq_ignore_ascii_case("charset=utf-8"))
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        (self.status, [(CONTENT_TYPE, "application/json")], self.to_json()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        let hosts = vec!["till.example".to_owned()];
        Door { listen: ([127, 0, 0, 1], 8092).into(), hosts, body_timeout: Duration::ZERO }
    }

    fn check(method: &str, headers: &[(&str, &str)]) -> Result<(), StatusCode> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        door().check(&request.body(Body::empty()).unwrap()).map_err(|trouble| trouble.status)
    }

    #[test]
    fn only_its_own_names_and_pages_are_let_in() {
        for host in ["localhost:8092", "127.0.0.1:8092", "[::1]:8092", "LOCALHOST", "till.example"] {
            assert_eq!(check("GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "10.0.0.1", "localhost.evil.example"] {
            assert_eq!(check("GET", &[("host", host)]), Err(StatusCode::FORBIDDEN), "{host}");
        }
        assert_eq!(check("GET", &[]), Err(StatusCode::BAD_REQUEST));
        let json = ("content-type", "application/json");
        let host = ("host", "localhost:8092");
        assert_eq!(check("POST", &[host, json]), Ok(()));
        assert_eq!(check("POST", &[host, json, ("origin", "http://localhost:8092")]), Ok(()));
        for origin in ["http://evil.example", "null", "http://localhost:1"] {
            assert_eq!(
                check("POST", &[host, json, ("origin", origin)]),
                Err(StatusCode::FORBIDDEN),
                "{origin}"
            );
        }
        for kind in ["application/json;charset=UTF-8", "Application/JSON", "application/json ; charset=utf-8"]
        {
            assert_eq!(check("POST", &[host, ("content-type", kind)]), Ok(()), "{kind}");
        }
        for kind in
            ["text/plain", "application/jsonp", "application/json, text/plain", "application/json;x=1", ""]
        {
            let checked = check("POST", &[host, ("content-type", kind)]);
            assert_eq!(checked, Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{kind}");
        }
    }

    #[test]
    fn what_a_browser_says_of_its_requests_counts() {
        let (host, json) = (("host", "localhost:8092"), ("content-type", "application/json"));
        let site = |site| ("sec-fetch-site", site);
        for (method, site, mode, allowed) in [
            ("POST", site("same-origin"), "cors", true),
            ("POST", site("same-site"), "cors", false),
            ("POST", site("cross-site"), "navigate", false),
            ("POST", site("none"), "navigate", false),
            ("GET", site("same-origin"), "cors", true),
            ("GET", site("cross-site"), "no-cors", false),
            ("GET", site("same-site"), "cors", false),
            ("GET", site("cross-site"), "navigate", true),
            ("GET", site("none"), "navigate", true),
        ] {
            let checked = check(method, &[host, json, site, ("sec-fetch-mode", mode)]);
            assert_eq!(checked.is_ok(), allowed, "{method} {site:?} {mode}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let other = ("host", "evil.example");
        let host = ("host", "localhost:8092");
        for headers in [[host, other], [other, host], [host, host]] {
            assert_eq!(check("GET", &headers), Err(StatusCode::BAD_REQUEST));
        }
        let request = Request::builder().uri("http://evil.example/").header("host", "localhost:8092");
        let checked = door().check(&request.body(Body::empty()).unwrap());
        assert_eq!(checked.unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
