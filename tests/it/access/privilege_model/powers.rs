//! The observable powers of a key: its tokens per audience, their scopes, locations and lifetimes,
//! and the limits of the key.

use std::collections::{BTreeMap, BTreeSet};

use keyswap::domain::common::time::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, body_of};

pub const DEFAULT: &str = "http://keyswap.test";
pub const MANAGEMENT: &str = "http://keyswap.test/v1";
/// An audience that accepts only some permissions.
pub const NARROW: &str = "https://api.test";
pub const AUDIENCES: [&str; 3] = [DEFAULT, MANAGEMENT, NARROW];

/// The contents of a token for one audience.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    pub scope: BTreeSet<String>,
    /// The locations per permission. A missing entry means everywhere.
    pub locations: BTreeMap<String, BTreeSet<String>>,
    /// Lifetime in seconds.
    pub life: i64,
}

/// The limits of a key. `None` means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    pub expires_at: Option<i64>,
    pub exchanges_per_minute: Option<i64>,
    /// In seconds.
    pub max_token_ttl: Option<i64>,
    pub audiences: Option<BTreeSet<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Powers {
    pub tokens: BTreeMap<String, Tokens>,
    pub limits: Limits,
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

impl Tokens {
    fn of(explained: &Value) -> Self {
        let scope = names(&explained["scope"]);
        let mut locations = BTreeMap::<String, BTreeSet<String>>::new();
        for detail in explained["authorization_details"].as_array().into_iter().flatten() {
            for action in names(&detail["actions"]) {
                locations.entry(action).or_default().extend(names(&detail["locations"]));
            }
        }
        Self { scope, locations, life: explained["expires_in"].as_i64().unwrap_or_default() }
    }

    /// Lists what these tokens grant beyond `had`.
    fn exceeds(&self, audience: &str, had: Option<&Self>) -> Vec<String> {
        let mut more = Vec::new();
        let none = Self::default();
        let had = had.unwrap_or(&none);
        for name in &self.scope {
            if !had.scope.contains(name) {
                more.push(format!("{name} at {audience}"));
            } else if let Some(before) = had.locations.get(name) {
                match self.locations.get(name) {
                    None => more.push(format!("{name} at {audience} everywhere, not in {before:?} alone")),
                    Some(now) if !now.is_subset(before) => more.push(format!("{name} at {audience} in {now:?}")),
                    Some(_) => {}
                }
            }
        }
        if !self.scope.is_empty() && self.life > had.life {
            more.push(format!("tokens of {} s at {audience}, not of {}", self.life, had.life));
        }
        more
    }
}

impl Limits {
    fn of(key: &Value) -> Self {
        let seconds = |span: &Value| span.as_str().map(seconds);
        Self {
            expires_at: key["expires_at"].as_str().map(|text| text.parse::<Timestamp>().unwrap().millis()),
            exchanges_per_minute: key["exchanges_per_minute"].as_i64(),
            max_token_ttl: seconds(&key["max_token_ttl"]),
            audiences: key["audiences"].is_array().then(|| names(&key["audiences"])),
        }
    }

    /// Lists the limits of `had` that are missing or wider here.
    fn exceeds(&self, had: &Self) -> Vec<String> {
        let wider = |now: Option<i64>, had: Option<i64>| had.is_some_and(|had| now.is_none_or(|now| now > had));
        let all = [
            ("expires_at", wider(self.expires_at, had.expires_at)),
            ("exchanges_per_minute", wider(self.exchanges_per_minute, had.exchanges_per_minute)),
            ("max_token_ttl", wider(self.max_token_ttl, had.max_token_ttl)),
            (
                "audiences",
                had.audiences.as_ref().is_some_and(|had| self.audiences.as_ref().is_none_or(|now| !now.is_subset(had))),
            ),
        ];
        all.into_iter().filter(|(_, is_wider)| *is_wider).map(|(name, _)| format!("a wider {name}: {self:?}")).collect()
    }
}

fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: i64 = number.parse().unwrap();
    match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3600,
        "d" => number * 86_400,
        other => panic!("{other} is no unit known here"),
    }
}

impl Powers {
    /// Lists the powers that exceed `had`.
    pub fn exceeds(&self, had: &Self) -> Vec<String> {
        let mut more = self.limits.exceeds(&had.limits);
        for (audience, tokens) in &self.tokens {
            more.extend(tokens.exceeds(audience, had.tokens.get(audience)));
        }
        more
    }

    /// Determines the powers of one value of key `id`. `is_current` states that the value must work
    /// while the key is active: a refused current value of an active key is a failure.
    pub async fn of(server: &Server, id: &str, value: &str, is_current: bool) -> Self {
        let mut powers = Self::default();
        for audience in AUDIENCES {
            let body = json!({ "audience": audience });
            let answer = server.post("/v1/exchange/explain").bearer_auth(value).json(&body).send().await.unwrap();
            if answer.status() == StatusCode::UNAUTHORIZED {
                if is_current {
                    let key = server.manage("GET", &format!("/v1/api-keys/{id}"), None, 200).await;
                    assert_ne!(key["state"], "active", "it is active, and refused: {key}");
                }
                return powers;
            }
            let explained = body_of(answer, StatusCode::OK).await;
            if explained["granted"] == true {
                powers.tokens.insert(audience.to_owned(), Tokens::of(&explained));
            } else {
                let error = explained["error"].as_str().unwrap();
                assert!(matches!(error, "invalid_target" | "invalid_scope"), "{explained}");
            }
        }
        powers.limits = Limits::of(&server.manage("GET", &format!("/v1/api-keys/{id}"), None, 200).await);
        powers
    }
}
