//! The guard: where connections may go. It judges addresses and not names, and what it lets through is what is connected to: a
//! name that points somewhere else a moment later gains nothing.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

use crate::domain::{
    address::{Ports, is_public},
    webhook::WebhookUrl,
};

/// What may be reached besides public addresses over HTTPS at port 443.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    pub allowed_networks: Vec<IpNet>,
    pub allowed_ports: Vec<Ports>,
    pub allow_http: bool,
}

/// Why nobody was asked. None of these tells an address: a name must not become a way to look into private networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only https:// is allowed here")]
    Unencrypted,
    #[error("the port is not an allowed one")]
    Port,
    #[error("it names no address of the public Internet")]
    Address,
}

impl Guard {
    /// What can be said of a URL before its name is looked up.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self, url: &WebhookUrl) -> Result<(), Vec<Refused>> {
        let mut faults = Vec::new();
        if !url.is_encrypted() && !self.allow_http {
            faults.push(Refused::Unencrypted);
        }
        let usual = if url.is_encrypted() { 443 } else { 80 };
        let port_allowed = |port: u16| port == usual || self.allowed_ports.iter().any(|allowed| allowed.contain(port));
        if !url.port().is_some_and(port_allowed) {
            faults.push(Refused::Port);
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if address.is_some_and(|address| !self.admits(address)) {
            faults.push(Refused::Address);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether a connection may go to this address.
    pub fn admits(&self, address: IpAddr) -> bool {
        let listed = |address: IpAddr| self.allowed_networks.iter().any(|network| network.contains(&address));
        is_public(address) || listed(address) || listed(address.to_canonical())
    }
}
