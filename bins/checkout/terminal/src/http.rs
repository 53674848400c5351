//! The way in: routes, and what every answer says about itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use crate::lane::Lanes;
use crate::pages;
use crate::settings::Settings;
use crate::trouble::Trouble;

/// More than any action needs.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Nothing is loaded from elsewhere, nothing is inline, and no other page may show this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) shutdown: CancellationToken,
}

/// Under which names it may be asked for.
struct Door {
    listen: SocketAddr,
    hosts: Vec<String>,
}

pub(crate) fn router(lanes: Arc<Lanes>, settings: &Settings, shutdown: CancellationToken) -> Router {
    let door = Arc::new(Door { listen: settings.listen, hosts: settings.hosts.clone() });
    Router::new()
        .route("/", get(pages::front))
        .route("/lane/{lane}", get(pages::lane))
        .route("/assets/{name}", get(pages::asset))
        .route("/api/products", get(pages::products))
        .route("/api/lanes/{lane}", get(pages::state))
        .route("/api/lanes/{lane}/events", get(pages::events))
        .route("/api/lanes/{lane}/{action}", post(pages::act))
        .fallback(pages::nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(door, guard))
        .with_state(Desk { lanes, shutdown })
}

/// Lets in who means this server and comes from its own pages, and marks every answer.
async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = match door.check(&request) {
        Ok(()) => next.run(request).await,
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
        let Some(host) = text(headers, HOST).and_then(|host| host.parse::<Authority>().ok()) else {
            return Err(Trouble::bad_request("The request names no host."));
        };
        if !self.is_ours(host.host()) {
            return forbidden(format!(
                "{} is no name of this server: the setting `hosts` allows more.",
                host.host()
            ));
        }
        if *request.method() == Method::GET || *request.method() == Method::HEAD {
            return Ok(());
        }
        let from = text(headers, ORIGIN);
        if from.is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host.as_str())) {
            return forbidden("Only this server's own pages may do that.".to_owned());
        }
        // A form of another site can't say this.
        if !text(headers, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json")) {
            let message = "The request's body must be application/json.";
            return Err(Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
        Ok(())
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

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
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

    fn check(method: &str, headers: &[(&str, &str)]) -> Result<(), StatusCode> {
        let door = Door { listen: ([127, 0, 0, 1], 8092).into(), hosts: vec!["till.example".to_owned()] };
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        door.check(&request.body(Body::empty()).unwrap()).map_err(|trouble| trouble.status)
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
        let form = ("content-type", "text/plain");
        assert_eq!(check("POST", &[host, form]), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
}
