//! The client address behind reverse proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Once,
};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::{live::LiveSettings, sections::ForwardedHeader};

/// The configured proxies, whose header is trusted.
#[derive(Debug)]
pub struct TrustedProxies {
    live: LiveSettings,
    untrusted_header_seen: Once,
}

impl TrustedProxies {
    pub const fn new(live: LiveSettings) -> Self {
        Self { live, untrusted_header_seen: Once::new() }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        is_in(&self.live.load().trusted_proxies, address)
    }

    /// The client address: the peer, or, if the peer is a trusted proxy, the last address in the
    /// configured header that is not one. Addresses further left and malformed entries may come
    /// from the client and prove nothing (RFC 9700 §4.13). The other header is never read: a proxy
    /// that sets one of them passes the other one on.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let live = self.live.load();
        let (networks, header) = (&live.trusted_proxies, live.forwarded_header);
        let mut client = peer.to_canonical();
        let name = HeaderName::from_static(header.name());
        let mut lines = headers.get_all(&name).map(|line| line.to_str().unwrap_or_default()).peekable();
        if lines.peek().is_some() && !is_in(networks, client) {
            self.warn_of_untrusted_header(header, client);
        }
        let elements: Vec<_> = lines.flat_map(|line| line.split(',')).collect();
        for element in elements.into_iter().rev() {
            match parse_element(header, element.trim()) {
                Some(address) if is_in(networks, client) => client = address.to_canonical(),
                Some(_) | None => break,
            }
        }
        client
    }

    /// A proxy that is not configured looks like this, but so does a client that sends the header
    /// itself. Therefore the message appears once.
    fn warn_of_untrusted_header(&self, header: ForwardedHeader, peer: IpAddr) {
        let header = header.name();
        self.untrusted_header_seen.call_once(|| {
            tracing::warn!(
                %peer,
                "ignored {header} from a peer that is not in server.trusted_proxies: if {peer} is your proxy, add its \
                 network, or all clients share its address; this message is not repeated"
            );
        });
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address.to_canonical()))
}

/// Parses one element of a header. No address contains a comma or a semicolon, so an unbalanced
/// quote of a client cannot hide what a proxy appends.
fn parse_element(header: ForwardedHeader, element: &str) -> Option<IpAddr> {
    match header {
        ForwardedHeader::XForwardedFor => parse_address(element),
        ForwardedHeader::Forwarded => {
            let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let mut nodes =
                pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, node)| node.trim());
            let node = nodes.next().filter(|_| nodes.next().is_none())?;
            // `unknown` and obfuscated identifiers (RFC 7239 §6) are no addresses.
            parse_address(node.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(node))
        }
    }
}

/// Parses an address with or without a port, in the forms that proxies write.
fn parse_address(text: &str) -> Option<IpAddr> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    unbracketed.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// The client address of a request with both headers, of which the configured one is `lines`.
    fn client(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let forwarded_header = format!("server.forwarded_header={}", header.name());
        let settings = LiveSettings::with(&["server.trusted_proxies=[\"10.0.0.0/8\"]", &forwarded_header]);
        let trusted = TrustedProxies::new(settings);
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-forwarded-for", "203.0.113.99"), ("forwarded", "for=203.0.113.99")] {
            if name != header.name() {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        for line in lines {
            headers.append(HeaderName::from_static(header.name()), HeaderValue::from_str(line).unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_headers_of_trusted_proxies_are_used() {
        let client = |peer: &str, lines: &[&str]| client(ForwardedHeader::XForwardedFor, peer, lines);
        assert_eq!(client("192.0.2.1", &["198.51.100.9"]), "192.0.2.1", "a stranger cannot name another");
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.5, 198.51.100.9,10.0.0.2"]), "198.51.100.9");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.5", "198.51.100.9", "10.0.0.2"]),
            "198.51.100.9",
            "lines are one list"
        );
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1", "the other header is not read");
        assert_eq!(client("10.0.0.1", &["nonsense, 198.51.100.9:4711"]), "198.51.100.9", "with a port");
        assert_eq!(client("10.0.0.1", &["198.51.100.9, nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.9"]), "198.51.100.9");
    }

    #[test]
    fn forwarded_is_read_if_it_is_configured() {
        let client = |lines: &[&str]| client(ForwardedHeader::Forwarded, "10.0.0.1", lines);
        assert_eq!(client(&[]), "10.0.0.1", "the other header is not read");
        for element in [
            "for=198.51.100.9",
            "For=198.51.100.9:4711",
            "for=\"198.51.100.9:4711\";proto=https;by=10.0.0.1",
            "proto=https; FOR = \"198.51.100.9\" ;host=keys.example",
        ] {
            assert_eq!(client(&[element]), "198.51.100.9", "{element}");
            assert_eq!(client(&[&format!("for=203.0.113.5, {element}, for=10.0.0.2")]), "198.51.100.9", "{element}");
            assert_eq!(client(&[&format!("for=\", {element}")]), "198.51.100.9", "a quote of the client: {element}");
        }
        assert_eq!(client(&["for=\"[2001:db8::1]:4711\""]), "2001:db8::1");
        for element in ["for=unknown", "for=_hidden", "198.51.100.9", "", "for=", "for=198.51.100.9;for=198.51.100.8"] {
            assert_eq!(client(&[element]), "10.0.0.1", "{element}");
        }
    }
}
