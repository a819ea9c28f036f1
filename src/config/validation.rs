//! Ranges of settings and combinations that contradict each other.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::{
    config::{merge::Faults, sections::Sections},
    domain::{common::time::Span, credentials::format::Prefix, portal::session::KeyFormOption},
};

pub fn validate(sections: &Sections, faults: &mut Faults) {
    let Sections { server, database, tokens, api_keys, portal, brute_force, log, .. } = sections;
    if let Some(fault) = validate_public_url(&server.public_url) {
        faults.require(false, &["server.public_url"], fault);
    }
    faults.require(
        server.tls_certificate.is_some() == server.tls_key.is_some(),
        &["server.tls_key", "server.tls_certificate"],
        "set both tls_certificate and tls_key, or neither",
    );
    for (path, size, min) in [
        ("database.pool_size", database.pool_size, 1),
        ("service_clients.max_per_user", sections.service_clients.max_per_user, 0),
        ("brute_force.per_source", brute_force.per_source, 1),
        ("brute_force.per_credential", brute_force.per_credential, 1),
    ] {
        let max = if path == "database.pool_size" { 512 } else { 1_000_000 };
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
    faults.require(
        EnvFilter::try_new(&log.level).is_ok(),
        &["log.level"],
        "must be error, warn, info, debug, trace, or directives such as info,keyswap=debug",
    );
}

fn validate_durations(sections: &Sections, faults: &mut Faults) {
    let Sections { database, tokens, signing_keys, portal, brute_force, .. } = sections;
    let [second, minute, hour] = [1, 60, 3600].map(Duration::from_secs);
    let day = 24 * hour;
    let rotation_period = signing_keys.rotation_period.map_or(day, Span::duration);
    for (path, value, range, text) in [
        ("database.connect_timeout", database.connect_timeout, second..=minute, "must be from 1s to 60s"),
        ("database.statement_timeout", database.statement_timeout, second..=minute, "must be from 1s to 60s"),
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

fn validate_public_url(url: &str) -> Option<&'static str> {
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
