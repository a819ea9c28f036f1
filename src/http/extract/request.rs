//! The context of a request: its id and the client address. Responses are logged here, server
//! errors as warnings and all others at debug level.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use ipnet::IpNet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    crypto::random,
    service::{
        Services,
        credentials::{brute_force::Source, request_context::RequestContext},
    },
};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Networks of proxies whose `X-Forwarded-For` and `X-Request-Id` are trusted.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The client address: the peer, or, if the peer is a trusted proxy, the last address in
    /// `X-Forwarded-For` that is not one. Addresses further left and malformed entries may come
    /// from the client and prove nothing (RFC 9700 §4.13).
    fn client(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer.to_canonical();
        for address in forwarded.rev() {
            match address {
                Some(address) if self.contains(client) => client = address.to_canonical(),
                Some(_) | None => break,
            }
        }
        client
    }
}

/// Assigns the request id and the client address, calls the handler and logs the response. The
/// query string is never logged, because it may contain a misplaced secret.
pub async fn attach_request_context(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
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
    if let Some(services) = services {
        services.metrics.record_response(status);
    }
    span.in_scope(|| {
        if status >= 500 || tracing::enabled!(tracing::Level::DEBUG) {
            log_response(&method, response.request(), status, started.elapsed(), call.address);
        }
    });
    Ok(response)
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
    let (mut address, mut proxy_id) = (peer.to_canonical(), None);
    if let Some(trusted) = request.app_data::<Data<TrustedProxies>>().filter(|trusted| trusted.contains(peer)) {
        let header = |name: &str| -> Vec<&str> {
            request.headers().get_all(name).filter_map(|value| value.to_str().ok()).collect()
        };
        let forwarded = header("x-forwarded-for");
        let forwarded = forwarded.iter().flat_map(|value| value.split(',')).map(|part| parse_address(part.trim()));
        address = trusted.client(peer, forwarded);
        // Only a trusted proxy may set the id. Any other peer could write to the log with it.
        proxy_id = header("x-request-id").pop().filter(|id| is_valid_request_id(id)).map(str::to_owned);
    }
    let generate =
        || services.and_then(|services| random::generate_token_id(&services.entropy).ok()).unwrap_or_default();
    RequestContext { source: Source::from(address), request_id: proxy_id.unwrap_or_else(generate), address }
}

/// Parses an address with or without a port, in the forms that proxies write.
fn parse_address(text: &str) -> Option<IpAddr> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    unbracketed.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let client =
            |peer: &str, forwarded: &[&str]| trusted.client(ip(peer), forwarded.iter().map(|text| parse_address(text)));
        assert_eq!(client("192.0.2.1", &["198.51.100.9"]), ip("192.0.2.1"), "a stranger cannot name another");
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), ip("198.51.100.9"));
        assert_eq!(client("10.0.0.1", &["203.0.113.5", "198.51.100.9", "10.0.0.2"]), ip("198.51.100.9"));
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(
            client("10.0.0.1", &["nonsense", "198.51.100.9:4711"]),
            ip("198.51.100.9"),
            "a port, and a liar to the left"
        );
        assert_eq!(client("10.0.0.1", &["198.51.100.9", "nonsense"]), ip("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:80"]), ip("2001:db8::1"));
    }
}
