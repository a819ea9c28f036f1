//! The context of a request: its id and the client address. Responses are logged here, server
//! errors as warnings and all others at debug level.

use std::{net::IpAddr, time::Duration};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS},
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
        connection::{body::finish_body, listener::ServedConnection},
        extract::client_address::TrustedProxies,
    },
    service::{
        Services,
        credentials::{brute_force::Source, request_context::RequestContext},
    },
};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One year. Subdomains belong to others.
const HSTS: &str = "max-age=31536000";

/// Assigns the request id and the client address, calls the handler, adds the headers that every
/// response has, and logs the response. The query string is never logged, because it may contain a
/// misplaced secret.
pub async fn attach_request_context(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let connection = request.conn_data::<ServedConnection>();
    let handling = connection.map(|connection| connection.state.begin_handling());
    let is_tls = connection.is_some_and(|connection| connection.is_tls);
    let services = request.app_data::<Data<Services>>().cloned();
    let call = build_call(&request, services.as_ref().map(Data::get_ref));
    let id = HeaderValue::from_str(&call.request_id).unwrap_or(HeaderValue::from_static("none"));
    let method = request.method().clone();
    request.extensions_mut().insert(call.clone());
    // Every log line of the request carries the id, so a client that reports it identifies them.
    let span = tracing::info_span!("request", request_id = call.request_id);
    let mut response = next.call(request).instrument(span.clone()).await?;
    let status = response.status().as_u16();
    response.headers_mut().insert(REQUEST_ID, id);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_tls {
        // Without own TLS, the proxy decides (RFC 6797 §7.2).
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    if let Some(services) = services {
        services.metrics.record_response(status);
        add_resource_metadata(&mut response, &services);
    }
    span.in_scope(|| {
        if status >= 500 || tracing::enabled!(tracing::Level::DEBUG) {
            log_response(&method, response.request(), status, started.elapsed(), call.address);
        }
    });
    Ok(response.map_body(|_, body| finish_body(body, handling)))
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
    let peer = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
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
        source: Source::from(IpAddr::from([0, 0, 0, 0])),
        request_id: String::new(),
        address: IpAddr::from([0, 0, 0, 0]),
    })
}
