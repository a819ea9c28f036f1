//! Public IP addresses. Connections to a host that a client supplies go only to these, and to
//! networks that the operator allows.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};
use url::{Host, Url};

use crate::domain::common::text::impl_serde_as_text;

/// Returns whether an address is globally reachable according to the IANA special-purpose address
/// registries. Loopback, private, shared, link-local, multicast, reserved and documentation
/// addresses are not, nor is an IPv6 address that embeds such an IPv4 address.
pub fn is_globally_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_globally_reachable_v4(address),
        IpAddr::V6(address) => is_globally_reachable_v6(address),
    }
}

fn is_globally_reachable_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // "This network", private, loopback, link-local (where cloud providers serve instance
        // metadata).
        (0 | 10 | 127, _, _) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _)
        // Shared address space of carriers, IETF protocol assignments, former 6to4 relays,
        // benchmarking, documentation.
        | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _)
        | (192, 0, 2) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224..=255, _, _)
    )
}

fn is_globally_reachable_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_globally_reachable_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // IPv6 forms that embed an IPv4 address: IPv4-mapped, NAT64 (RFC 6052), 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // IETF protocol assignments, including Teredo; both documentation prefixes.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast addresses are assigned from 2000::/3 only.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// Returns whether a URL leads to this machine only. Browsers treat the name `localhost` so as well
/// (RFC 6761 §6.3).
pub fn is_loopback_url(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// A network in CIDR notation.
struct Network(IpNet);

/// Why a text is not a network. Each message states what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidNetwork {
    #[error("give a network, such as 10.0.0.0/8 or fd00::/8")]
    Malformed,
    #[error("is an address; write {} for this address alone", IpNet::from(*.0))]
    Address(IpAddr),
    #[error("has bits after its prefix; write {} for the network, or {} for the address", .0.trunc(), IpNet::from(.0.addr()))]
    HostBits(IpNet),
}

impl FromStr for Network {
    type Err = InvalidNetwork;
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if let Ok(address) = text.parse() {
            return Err(InvalidNetwork::Address(address));
        }
        let network: IpNet = text.parse().map_err(|_| InvalidNetwork::Malformed)?;
        if network == network.trunc() { Ok(Self(network)) } else { Err(InvalidNetwork::HostBits(network)) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Deserializes a list of networks in CIDR notation.
pub fn deserialize_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Ok(Vec::<Network>::deserialize(deserializer)?.into_iter().map(|network| network.0).collect())
}

/// A port, or an inclusive range of ports: `8443` or `8000-8999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for PortRange {
    type Err = InvalidPortRange;
    fn from_str(text: &str) -> Result<Self, InvalidPortRange> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(InvalidPortRange);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first <= last { Ok(Self { first, last }) } else { Err(InvalidPortRange) }
    }
}
impl_serde_as_text!(PortRange);

/// Returned for a text that is neither a port nor a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a port such as 8443, or a range such as 8000-8999")]
pub struct InvalidPortRange;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let public = |text: &str| is_globally_reachable(text.parse().unwrap());
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::7f00:1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(refused), "{refused}");
        }
        for allowed in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(public(allowed), "{allowed}");
        }
    }

    #[test]
    fn ports_are_read_strictly() {
        let ports = |text: &str| text.parse::<PortRange>();
        assert!(ports("8443").unwrap().contains(8443));
        let range = ports("8000-8999").unwrap();
        assert!(range.contains(8000) && range.contains(8999) && !range.contains(7999) && !range.contains(9000));
        for wrong in ["", "0", "65536", "9-8", "a", "1-", "-1", "1-2-3", " 1"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
