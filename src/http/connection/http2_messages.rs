//! The heads of requests and responses, between the types of HTTP/2 and those of actix-http.

use std::net::SocketAddr;

use actix_http::{HttpMessage as _, Payload, Request, ResponseHead, ServiceConfig};
use actix_web::{
    body::BodySize,
    http::{
        StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue, TRANSFER_ENCODING, UPGRADE},
    },
    web::BytesMut,
};

use crate::http::connection::registry::ServedConnection;

pub fn convert_request(
    parts: http_types::request::Parts,
    payload: Payload,
    connection: &ServedConnection,
    peer: Option<SocketAddr>,
) -> Request {
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    request.extensions_mut().insert(connection.clone());
    request
}

/// Returns the head of a response, and whether a body follows it.
pub fn convert_head(head: &ResponseHead, size: BodySize, clock: &ServiceConfig) -> (http_types::Response<()>, bool) {
    let may_have_body = ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    let mut converted = http_types::Response::new(());
    *converted.status_mut() = head.status;
    let headers = converted.headers_mut();
    // Headers that concern the connection do not exist in HTTP/2 (RFC 9113 §8.2.2).
    let is_sent = |name| ![CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name);
    for (name, value) in head.headers.iter().filter(|(name, _)| is_sent(*name)) {
        headers.append(name, value.clone());
    }
    if let BodySize::Sized(length) = size
        && may_have_body
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !headers.contains_key(DATE) {
        // A whole line, `date: …\r\n`: the only form in which actix-http returns its cached date.
        let mut line = BytesMut::new();
        clock.write_date_header(&mut line, false);
        let value = line.strip_prefix(b"date: ").and_then(|value| value.strip_suffix(b"\r\n"));
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            headers.insert(DATE, value);
        }
    }
    (converted, may_have_body && !size.is_eof())
}
