//! The context of a request: its id and the client address. Responses are logged here, server
//! errors as warnings and all others at debug level.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method,
        header::{HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web::Data,
};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    crypto::random,
    http::{
        challenge::add_resource_metadata,
        connection::{body::finish_body, registry::ServedConnection},
        extract::client_address::TrustedProxies,
        oauth_error::OAuthError,
        problem::{Problem, is_oauth_path},
    },
    service::{
        Services,
        credentials::{brute_force::Source, request_context::RequestContext},
    },
    telemetry::panics::{CaughtPanic, catch_panic_of},
};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The address of a request without a connection.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// One year. Subdomains belong to others.
const HSTS: &str = "max-age=31536000";

/// Assigns the request id and the client address, calls the handler, adds the headers that every
/// response has, and logs the response. The query string is never logged, because it may contain a
/// misplaced secret. A panic of a handler or of a middleware is answered 500 and ends nothing else.
pub async fn attach_request_context(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    // Only actix-http can attach data to a connection. HTTP/2 attaches it to each request.
    let connection = request.conn_data::<ServedConnection>().cloned();
    let connection = connection.or_else(|| request.extensions().get::<ServedConnection>().cloned());
    let handling = connection.as_ref().map(|connection| connection.state.begin_handling());
    let is_tls = connection.is_some_and(|connection| connection.is_tls);
    let services = request.app_data::<Data<Services>>().cloned();
    let call = build_call(&request, services.as_ref().map(Data::get_ref));
    let address = call.address;
    let id = HeaderValue::from_str(&call.request_id).unwrap_or(HeaderValue::from_static("none"));
    let method = request.method().clone();
    let is_oauth = is_oauth_path(request.request());
    // Every log line of the request carries the id at every level, so a client that reports it
    // identifies them.
    let span = tracing::error_span!("request", request_id = call.request_id);
    request.extensions_mut().insert(call);
    let handler = catch_panic_of(async move { next.call(request).await });
    let mut response = match handler.instrument(span.clone()).await {
        Ok(response) => response?,
        Err(panic) => {
            if let Some(services) = services {
                services.metrics.record_response(500);
            }
            let mut error = span.in_scope(|| convert_panic(&panic, is_oauth));
            error.add_response_mapper(move |mut response| {
                add_common_headers(response.headers_mut(), id.clone(), is_tls);
                response
            });
            return Err(error);
        }
    };
    let status = response.status().as_u16();
    add_common_headers(response.headers_mut(), id, is_tls);
    if let Some(services) = services {
        services.metrics.record_response(status);
        add_resource_metadata(&mut response, &services);
        if services.lifecycle.is_draining() {
            // The client opens its next connection to another replica, and so no request is lost
            // when this one closes its connections.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
    span.in_scope(|| {
        if status >= 500 || tracing::enabled!(tracing::Level::DEBUG) {
            log_response(&method, response.request(), status, started.elapsed(), address);
        }
    });
    Ok(response.map_body(|_, body| finish_body(body, span, handling)))
}

/// Logs a panic and returns the error in the format of the path. The request was lost in the panic,
/// and with it the route.
fn convert_panic(panic: &CaughtPanic, is_oauth: bool) -> Error {
    if is_oauth { OAuthError::server_error(panic).into() } else { Problem::internal(panic).into() }
}

fn add_common_headers(headers: &mut HeaderMap, request_id: HeaderValue, is_tls: bool) {
    headers.insert(REQUEST_ID, request_id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_tls {
        // Without own TLS, the proxy decides (RFC 6797 §7.2).
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
}

fn log_response(method: &Method, request: &HttpRequest, status: u16, took: Duration, address: IpAddr) {
    // The route pattern instead of the path keeps client input out of the log.
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(%method, route, status, micros, %address, "sent a response");
    } else {
        tracing::debug!(%method, route, status, micros, %address, "sent a response");
    }
}

fn build_call(request: &ServiceRequest, services: Option<&Services>) -> RequestContext {
    let peer = request.peer_addr().map_or(NO_ADDRESS, |peer| peer.ip());
    let trusted = request.app_data::<Data<TrustedProxies>>();
    let address = trusted.map_or(peer.to_canonical(), |trusted| trusted.client(peer, request.headers()));
    // Only a trusted proxy may set the id. Any other peer could write to the log with it.
    let proxy_id = trusted.filter(|trusted| trusted.contains(peer)).and_then(|_| {
        let last = request.headers().get_all(&REQUEST_ID).last()?.to_str().ok()?;
        is_valid_request_id(last).then(|| last.to_owned())
    });
    let generate =
        || services.and_then(|services| random::generate_token_id(&services.entropy).ok()).unwrap_or_default();
    RequestContext { source: Source::from(address), request_id: proxy_id.unwrap_or_else(generate), address }
}

fn is_valid_request_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The call that `attach_request_context` attached to the request.
pub fn request_call(request: &HttpRequest) -> RequestContext {
    let context = request.extensions().get::<RequestContext>().cloned();
    context.unwrap_or_else(|| RequestContext {
        source: Source::from(NO_ADDRESS),
        request_id: String::new(),
        address: NO_ADDRESS,
    })
}

/// The source of the request.
pub fn request_source(request: &HttpRequest) -> Source {
    let source = request.extensions().get::<RequestContext>().map(|context| context.source);
    source.unwrap_or_else(|| Source::from(NO_ADDRESS))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use actix_web::{
        App, HttpResponse,
        body::to_bytes,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service, try_call_service},
        web,
    };

    use super::*;
    use crate::config::live::LiveSettings;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn fail() -> HttpResponse {
        panic!("a fault of the handler")
    }

    async fn fail_before(_: ServiceRequest, _: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
        panic!("a fault of a middleware")
    }

    #[actix_web::test]
    async fn panic_is_answered_500_in_the_format_of_the_path_and_logged_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let app = App::new()
            .app_data(Data::new(TrustedProxies::new(LiveSettings::with(&["server.trusted_proxies=[\"127.0.0.0/8\"]"]))))
            .wrap(from_fn(attach_request_context))
            .route("/v1/panic", web::get().to(fail))
            .route("/oauth/panic", web::get().to(fail))
            .service(web::resource("/v1/middleware").to(HttpResponse::Ok).wrap(from_fn(fail_before)))
            .route("/v1/works", web::get().to(HttpResponse::Ok));
        let app = init_service(app).await;
        let get = |path: &str| {
            let request = TestRequest::get().uri(path).insert_header((REQUEST_ID, path.replace('/', "-")));
            request.peer_addr(([127, 0, 0, 1], 1234).into()).to_request()
        };
        for (path, content_type, member) in [
            ("/v1/panic", "application/problem+json", "\"code\":\"internal\""),
            ("/oauth/panic", "application/json", "\"error\":\"server_error\""),
            ("/v1/middleware", "application/problem+json", "\"code\":\"internal\""),
        ] {
            let response = try_call_service(&app, get(path)).await.err().unwrap().error_response();
            assert_eq!(response.status(), 500, "{path}");
            let id = path.replace('/', "-");
            let expected = [("content-type", content_type), ("x-request-id", &*id), ("cache-control", "no-store")];
            for (name, value) in expected {
                assert_eq!(response.headers().get(name).unwrap(), value, "{path}: {name}");
            }
            let body = to_bytes(response.into_body()).await.unwrap();
            assert!(String::from_utf8_lossy(&body).contains(member), "{path}: {body:?}");
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
            assert_eq!(lines.len(), 1, "{path}: {log}");
            assert!(lines[0].contains("ERROR") && lines[0].contains("panicked: a fault of"), "{path}: {log}");
        }
        assert_eq!(call_service(&app, get("/v1/works")).await.status(), 200, "the others are served");
    }
}
