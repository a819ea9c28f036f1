//! Ranges of settings and combinations that contradict each other.

use std::time::Duration;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use url::{Host, Url};

use crate::{
    config::{
        faults::Faults,
        sections::{Sections, Server},
    },
    domain::{common::time::Span, credentials::format::Prefix, portal::session::KeyFormOption},
    store::{DatabaseSettings, DatabaseUrl},
};

pub fn validate(sections: &Sections, faults: &mut Faults) {
    let Sections { server, database, tokens, api_keys, portal, limits, brute_force, log, .. } = sections;
    validate_server(server, faults);
    validate_database(database, faults);
    faults.require(
        !api_keys.owner_types.is_empty(),
        &["api_keys.owner_types"],
        "must contain at least one of user, organization, service_client, none: otherwise no key can be created",
    );
    for (path, size, min) in [
        ("database.pool_size", database.pool_size, 1),
        ("server.max_connections", server.max_connections, 16),
        ("limits.keys_per_owner", limits.keys_per_owner, 0),
        ("limits.keys_per_organization", limits.keys_per_organization, 0),
        ("limits.sessions_per_user", limits.sessions_per_user, 0),
        ("limits.changes_per_owner", limits.changes_per_owner, 0),
        ("limits.changes_per_organization", limits.changes_per_organization, 0),
        ("tokens.max_size", tokens.max_size, 2048),
        ("service_clients.max_per_user", sections.service_clients.max_per_user, 0),
        ("brute_force.per_source", brute_force.per_source, 1),
        ("brute_force.per_credential", brute_force.per_credential, 1),
    ] {
        let max = match path {
            "database.pool_size" => 512,
            // More than the largest scope takes.
            "tokens.max_size" => 65_536,
            _ => 1_000_000,
        };
        faults.require((min..=max).contains(&size), &[path], format_args!("must be from {min} to {max}"));
    }
    validate_durations(sections, faults);
    faults.require(
        tokens.default_ttl <= tokens.max_ttl,
        &["tokens.default_ttl", "tokens.max_ttl"],
        "must not be longer than tokens.max_ttl",
    );
    let session_prefix = Prefix::portal_session();
    for (path, is_free) in [
        ("api_keys.prefix", api_keys.prefix != session_prefix),
        ("api_keys.accepted_prefixes", !api_keys.accepted_prefixes.contains(&session_prefix)),
    ] {
        faults.require(is_free, &[path], format_args!("{session_prefix} is reserved for portal sessions"));
    }
    faults.require(
        !portal.choices.contains(&KeyFormOption::Resources) || portal.choices.contains(&KeyFormOption::Roles),
        &["portal.choices"],
        "resources requires roles",
    );
    // A directive without a level is the name of a module, so a misspelled level would be one.
    let is_level = |directive: &str| directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok();
    faults.require(
        EnvFilter::try_new(&log.level).is_ok() && log.level.split(',').all(is_level),
        &["log.level"],
        "must be error, warn, info, debug, trace, or directives such as info,keyswap=debug",
    );
}

fn validate_database(database: &DatabaseSettings, faults: &mut Faults) {
    faults.require(
        !matches!(&database.url, DatabaseUrl::Sqlite(path) if path.contains(":memory:")),
        &["database.url"],
        "must be a file, such as sqlite://data/keyswap.db: each connection would have its own database in memory",
    );
    faults.require(
        database.url.target_session_attrs().is_none_or(|value| value == "read-write"),
        &["database.url"],
        "target_session_attrs must be read-write or absent: a server that cannot write may lack the latest changes, \
         such as the revocation of a key",
    );
    faults.require(
        !database.url.has_hosts_in_parameters(),
        &["database.url"],
        "must list several hosts before the database name, such as postgres://db1:5432,db2:5432/keyswap, and not in the \
         parameters host, hostaddr and port: each host is asked which one is the primary",
    );
}

fn validate_server(server: &Server, faults: &mut Faults) {
    if let Some(fault) = validate_public_url(&server.public_url) {
        faults.require(false, &["server.public_url"], fault);
    }
    faults.require(
        server.tls_certificate.is_some() == server.tls_key.is_some(),
        &["server.tls_key", "server.tls_certificate"],
        "set both tls_certificate and tls_key, or neither",
    );
    faults.require(
        server.tls_certificate.is_none() || server.public_url.starts_with("https://"),
        &["server.public_url", "server.tls_certificate", "server.tls_key"],
        "must begin with https://, because server.tls_certificate is set",
    );
    faults.require(
        server.admin_bind != Some(server.bind) || server.bind.port() == 0,
        &["server.admin_bind", "server.bind"],
        format_args!("must differ from server.bind, {}; leave it empty to serve both on one address", server.bind),
    );
}

fn validate_durations(sections: &Sections, faults: &mut Faults) {
    let Sections { server, database, tokens, signing_keys, portal, brute_force, .. } = sections;
    let [second, minute, hour] = [1, 60, 3600].map(Duration::from_secs);
    let day = 24 * hour;
    let max_lifetime = sections.api_keys.max_lifetime.map_or(day, Span::duration);
    let rotation_period = signing_keys.rotation_period.map_or(day, Span::duration);
    for (path, value, range, text) in [
        ("server.drain_delay", server.drain_delay.duration(), Duration::ZERO..=5 * minute, "must be from 0s to 5m"),
        ("database.connect_timeout", database.connect_timeout, second..=minute, "must be from 1s to 60s"),
        ("database.statement_timeout", database.statement_timeout, second..=minute, "must be from 1s to 60s"),
        ("database.lease", database.lease, second..=30 * second, "must be from 1s to 30s"),
        ("tokens.default_ttl", tokens.default_ttl.duration(), second..=Duration::MAX, "must be at least 1s"),
        (
            "signing_keys.replica_staleness",
            signing_keys.replica_staleness.duration(),
            second..=Duration::MAX,
            "must be at least 1s",
        ),
        (
            "signing_keys.rotation_period",
            rotation_period,
            second..=Duration::MAX,
            "must be at least 1s, or empty to disable automatic rotation",
        ),
        (
            "signing_keys.clock_skew",
            signing_keys.clock_skew.duration(),
            second..=Duration::MAX,
            "must be at least 1s: with less, the time that one reading of the database clock takes counts as a clock \
             jump, and signing keys are never rotated",
        ),
        (
            "api_keys.max_lifetime",
            max_lifetime,
            second..=Duration::MAX,
            "must be at least 1s, or empty for no limit: otherwise no key can be created",
        ),
        ("status_lists.ttl", sections.status_lists.ttl.duration(), second..=day, "must be from 1s to 24h"),
        ("portal.session_ttl", portal.session_ttl.duration(), minute..=day, "must be from 1m to 24h"),
        (
            "usage.flush_interval",
            sections.usage.flush_interval.duration(),
            Duration::from_millis(100)..=hour,
            "must be from 100ms to 1h",
        ),
        (
            "brute_force.refill",
            brute_force.refill.duration(),
            Duration::from_millis(1)..=Duration::MAX,
            "must be at least 1ms",
        ),
    ] {
        faults.require(range.contains(&value), &[path], text);
    }
}

fn validate_public_url(url: &str) -> Option<String> {
    validate_public_url_text(url).map(str::to_owned).or_else(|| {
        let parsed = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(error) => return Some(format!("is not a URL: {error}")),
        };
        let is_unspecified = match parsed.host() {
            Some(Host::Ipv4(address)) => address.is_unspecified(),
            Some(Host::Ipv6(address)) => address.is_unspecified(),
            Some(Host::Domain(_)) | None => false,
        };
        let normal = parsed.as_str().trim_end_matches('/');
        if is_unspecified {
            Some(format!("{url} is an address to listen on; give the name or the address that clients use"))
        } else {
            (normal != url).then(|| format!("must be {normal}, because URL libraries write {url} in this form"))
        }
    })
}

fn validate_public_url_text(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        None => Some("must begin with https:// (or http:// for a trial)"),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some("has no host"),
        Some(_) if url.ends_with('/') => Some("must not end with a slash, because `iss` contains it byte for byte"),
        Some(rest) if rest.contains(['?', '#', '@', ' ', '"', '\\', '{', '}']) || !rest.is_ascii() => {
            Some("must be ASCII without query, fragment, login, spaces and braces")
        }
        Some(rest) if rest.contains("//") || rest.split('/').any(|part| part == "." || part == "..") => {
            Some("must not have an empty part, `.` or `..` in its path")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn durations_with_which_a_server_does_not_work_are_refused() {
        for (path, too_short, shortest) in [
            ("database.connect_timeout", "999ms", "1s"),
            ("database.statement_timeout", "999ms", "1s"),
            ("tokens.default_ttl", "0s", "1s"),
            ("tokens.max_ttl", "0s", "10m"),
            ("signing_keys.replica_staleness", "0s", "1s"),
            ("signing_keys.rotation_period", "0s", "1s"),
            ("signing_keys.clock_skew", "0s", "1s"),
            ("signing_keys.clock_skew", "999ms", "1s"),
            ("api_keys.max_lifetime", "0s", "1s"),
            ("status_lists.ttl", "0s", "1s"),
            ("portal.session_ttl", "59s", "1m"),
            ("usage.flush_interval", "0s", "100ms"),
            ("brute_force.refill", "0s", "1ms"),
        ] {
            let load =
                |value: &str| Settings::load(None, &[format!("{path}={value}")]).map_err(|error| error.to_string());
            let refused = load(too_short).map(|_| "accepted").unwrap_err();
            assert!(refused.contains(path), "{path}={too_short}: {refused}");
            assert_eq!(load(shortest).map(|_| ()), Ok(()), "{path}={shortest}");
        }
    }
}
