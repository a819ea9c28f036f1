//! The guard restricts the destinations of outbound connections. It checks addresses, not names,
//! and the connection goes to the checked address. A later change of the name's DNS records (DNS
//! rebinding) has no effect.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use url::Host;

use crate::domain::{
    common::address::{PortRange, deserialize_networks, is_globally_reachable},
    webhooks::WebhookUrl,
};

/// Section `webhooks`: destinations that are permitted in addition to public addresses over HTTPS
/// at port 443.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OutboundGuard {
    #[serde(deserialize_with = "deserialize_networks")]
    pub allowed_networks: Vec<IpNet>,
    pub allowed_ports: Vec<PortRange>,
    pub allow_http: bool,
}

/// Why no request was sent. The messages contain no address, so that a name cannot be used to probe
/// private networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("only https:// is allowed")]
    Unencrypted,
    #[error("the port is not allowed")]
    Port,
    #[error("the host has no allowed address")]
    AddressNotAllowed,
}

impl OutboundGuard {
    /// Checks a URL before its name is resolved. Returns all faults.
    pub fn check(&self, url: &WebhookUrl) -> Result<(), Vec<DestinationError>> {
        let mut faults = Vec::new();
        if !url.uses_https() && !self.allow_http {
            faults.push(DestinationError::Unencrypted);
        }
        let default_port = if url.uses_https() { 443 } else { 80 };
        let port_allowed =
            |port: u16| port == default_port || self.allowed_ports.iter().any(|allowed| allowed.contains(port));
        if !url.port().is_some_and(port_allowed) {
            faults.push(DestinationError::Port);
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if address.is_some_and(|address| !self.allows_address(address)) {
            faults.push(DestinationError::AddressNotAllowed);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Returns whether connections to `address` are permitted.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let listed = |address: IpAddr| self.allowed_networks.iter().any(|network| network.contains(&address));
        is_globally_reachable(address) || listed(address) || listed(address.to_canonical())
    }
}
