//! Settings that are valid but weaken the deployment. They do not prevent a start. `keyswap config
//! check`, the start of a server, and `keyswap doctor` report them.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    config::Settings,
    crypto::secret_file,
    domain::common::{address::is_loopback_url, origin::Origin, time::Span},
    store::DatabaseUrl,
};

/// A setting, and why it weakens the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub setting: &'static str,
    /// The risk, and the remedy.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.text)
    }
}

/// The longest maximum lifetime of tokens that is not reported.
const MAX_RECOMMENDED_TTL: Span = Span::from_secs(24 * 3600);

/// Returns all findings, in the order of the sections.
pub fn find(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.check_transport(settings);
    findings.check_networks(settings);
    findings.check_origins(settings);
    findings.add_if(
        settings.limits.max_ttl > MAX_RECOMMENDED_TTL,
        "tokens.max_ttl",
        format_args!(
            "{}: services that verify tokens locally accept a token until it expires, also after its key is revoked; \
             set at most {MAX_RECOMMENDED_TTL}",
            settings.limits.max_ttl
        ),
    );
    findings.check_files(settings);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add_if(&mut self, is_found: bool, setting: &'static str, text: impl fmt::Display) {
        if is_found {
            self.0.push(Finding { setting, text: text.to_string() });
        }
    }

    fn check_transport(&mut self, settings: &Settings) {
        let server = &settings.server;
        let url = &server.public_url;
        let is_plain_url = url.starts_with("http://");
        self.add_if(
            is_plain_url && !is_loopback_url(url),
            "server.public_url",
            format_args!("{url}: keys and tokens cross the network unencrypted; use https"),
        );
        self.add_if(
            is_plain_url && is_loopback_url(url) && server.tls_certificate.is_none() && !server.bind.ip().is_loopback(),
            "server.bind",
            format_args!(
                "{}: keys and tokens cross the network unencrypted; listen on 127.0.0.1, or set server.tls_certificate \
                 and an https server.public_url",
                server.bind
            ),
        );
        self.add_if(
            settings.database.url.may_be_unencrypted(),
            "database.url",
            format_args!(
                "{}: the connection to PostgreSQL may be unencrypted; add sslmode=verify-full and sslrootcert",
                settings.database.url
            ),
        );
        self.add_if(
            settings.webhooks.allow_http,
            "webhooks.allow_http",
            "true: events cross the network unencrypted; use https receivers and remove the setting",
        );
    }

    fn check_networks(&mut self, settings: &Settings) {
        let server = &settings.server;
        let is_behind_proxy = server.public_url.starts_with("https://") && server.tls_certificate.is_none();
        self.add_if(
            is_behind_proxy && server.trusted_proxies.is_empty(),
            "server.trusted_proxies",
            format_args!(
                "[]: a proxy ends TLS for {}, so all clients have its address in the audit log and share one budget of \
                 failures; list the networks of your proxies",
                server.public_url
            ),
        );
        for network in settings.server.trusted_proxies.iter().filter(|network| is_too_broad(network)) {
            let text = format_args!(
                "{network}: every client is trusted to name its own address, which evades the brute-force limiter; \
                 list the networks of your proxies only"
            );
            self.add_if(true, "server.trusted_proxies", text);
        }
        for network in settings.webhooks.allowed_networks.iter().filter(|network| is_too_broad(network)) {
            let text = format_args!(
                "{network}: webhooks can reach every private address, such as the metadata service of a cloud; list \
                 the networks of your receivers only"
            );
            self.add_if(true, "webhooks.allowed_networks", text);
        }
    }

    fn check_origins(&mut self, settings: &Settings) {
        let is_plain = |origin: &&Origin| origin.as_str().starts_with("http://") && !is_loopback_url(origin.as_str());
        for origin in settings.portal.allowed_origins.iter().filter(is_plain) {
            let text = format_args!(
                "{origin}: an attacker who alters the unencrypted page receives the user's session; use https"
            );
            self.add_if(true, "portal.allowed_origins", text);
        }
        for origin in settings.portal.public_url.iter().filter(is_plain) {
            let text = format_args!("{origin}: browsers do not store the session of an unencrypted page; use https");
            self.add_if(true, "portal.public_url", text);
        }
    }

    /// Keyswap creates files with mode 0600 and directories with mode 0700. Those of earlier
    /// versions, and those that an operator created, may be accessible to other users. Secrets may
    /// also be mounted by a platform.
    fn check_files(&mut self, settings: &Settings) {
        let mut files = Vec::new();
        if let DatabaseUrl::Sqlite(path) = &settings.database.url {
            files.extend(["", "-wal", "-shm"].map(|suffix| ("database.url", PathBuf::from(format!("{path}{suffix}")))));
            // With write access, others can replace the database. Many directories, such as the
            // home directory, are readable.
            self.check_mode("database.url", secret_file::directory_of(Path::new(path)), 0o022);
        }
        files.push(("keys.rollback_guard", settings.keys.rollback_guard()));
        for (setting, path) in files {
            self.check_mode(setting, &path, 0o077);
        }
        let mut secrets =
            vec![("keys.dir", settings.keys.dir.clone()), ("bootstrap.admin_key_file", settings.admin_key_file())];
        secrets.extend(settings.server.tls_key.clone().map(|path| ("server.tls_key", path)));
        for (setting, path) in secrets {
            let found = secret_file::inspect(&path);
            self.0.extend(found.map(|insecure| Finding { setting, text: insecure.to_string() }));
        }
    }

    /// Reports a file or directory that others may access. In a directory with the sticky bit, such
    /// as `/tmp`, others cannot replace files.
    fn check_mode(&mut self, setting: &'static str, path: &Path, forbidden: u32) {
        let Ok(metadata) = fs::metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o7777;
        let wanted = match (forbidden & 0o055, metadata.is_dir()) {
            (0, _) => "go-w",
            (_, true) => "700",
            (_, false) => "600",
        };
        let path = path.display();
        self.add_if(
            mode & forbidden != 0 && mode & 0o1000 == 0,
            setting,
            format_args!("{path} is accessible to other users (mode {mode:03o}): run chmod {wanted} {path}"),
        );
    }
}

/// Returns whether a network contains a large part of the internet. `0.0.0.0/0` is often written as
/// two halves.
const fn is_too_broad(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        // Unique local addresses are fc00::/7.
        IpNet::V6(network) => network.prefix_len() < 7,
    }
}
