//! Four network namespaces on one bridge, for two PostgreSQL servers and two Keyswap processes, with
//! nftables between them. The test itself reaches all of them.

use std::process::Command;

use super::link::Cut;
use crate::faults::cluster::as_root;

pub struct Namespaces {
    bridge: String,
    /// The first three bytes of the addresses.
    network: String,
    created: Vec<String>,
}

/// A member of the network, which has a namespace of its own.
#[derive(Debug, Clone, Copy)]
pub enum Member {
    Server(usize),
    Process(usize),
}

impl Member {
    const ALL: [Self; 4] = [Self::Server(0), Self::Server(1), Self::Process(0), Self::Process(1)];

    const fn number(self) -> usize {
        match self {
            Self::Server(number) => 1 + number,
            Self::Process(number) => 3 + number,
        }
    }
}

impl Namespaces {
    /// Returns the reason if this machine does not allow namespaces or nftables.
    pub fn create() -> Result<Self, String> {
        if !as_root() {
            return Err("the test does not run as root".to_owned());
        }
        let process = std::process::id();
        let mut namespaces = Self {
            bridge: format!("ks{process}"),
            network: format!("10.{}.{}", 200 + process % 50, process / 50 % 250),
            created: Vec::new(),
        };
        namespaces.add_bridge()?;
        for member in Member::ALL {
            namespaces.add(member)?;
        }
        Ok(namespaces)
    }

    fn add_bridge(&self) -> Result<(), String> {
        run("ip", &["link", "add", &self.bridge, "type", "bridge"])?;
        run("ip", &["address", "add", &format!("{}.254/24", self.network), "dev", &self.bridge])?;
        run("ip", &["link", "set", &self.bridge, "up"])
    }

    fn add(&mut self, member: Member) -> Result<(), String> {
        let (name, number) = (self.name(member), member.number());
        run("ip", &["netns", "add", &name])?;
        self.created.push(name.clone());
        let outside = format!("{}n{number}", self.bridge);
        run("ip", &["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        run("ip", &["link", "set", &outside, "master", &self.bridge, "up"])?;
        let address = format!("{}/24", self.address(member));
        run("ip", &["-netns", &name, "address", "add", &address, "dev", "eth0"])?;
        for device in ["eth0", "lo"] {
            run("ip", &["-netns", &name, "link", "set", device, "up"])?;
        }
        self.filter(member, "add table inet keyswap")?;
        for direction in ["input", "output"] {
            let hook = format!("{{ type filter hook {direction} priority 0 ; }}");
            self.filter(member, &format!("add chain inet keyswap {direction} {hook}"))?;
        }
        Ok(())
    }

    /// Runs a command of nftables for a member.
    fn filter(&self, member: Member, command: &str) -> Result<(), String> {
        run("nsenter", &[&format!("--net=/run/netns/{}", self.name(member)), "nft", command])
    }

    pub fn name(&self, member: Member) -> String {
        format!("{}-{}", self.bridge, member.number())
    }

    pub fn address(&self, member: Member) -> String {
        format!("{}.{}", self.network, member.number())
    }

    /// Drops packets between a member and another one. With `Cut::FromServer`, only those from
    /// `member` are dropped.
    pub fn cut(&self, member: Member, other: Member, cut: Cut) {
        let other = self.address(other);
        if cut != Cut::Nothing {
            self.filter(member, &format!("add rule inet keyswap output ip daddr {other} drop")).unwrap();
        }
        if cut == Cut::Both {
            self.filter(member, &format!("add rule inet keyswap input ip saddr {other} drop")).unwrap();
        }
    }

    pub fn restore(&self) {
        for member in Member::ALL {
            self.filter(member, "flush table inet keyswap").unwrap();
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.created {
            let _ = run("ip", &["netns", "delete", name]);
        }
        let _ = run("ip", &["link", "delete", &self.bridge]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", args.join(" "))) }
}
