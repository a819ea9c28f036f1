//! Who created an API key, as a filter of lists.

use std::str::FromStr;

use serde::Deserialize;

use crate::domain::{
    common::id::{KeyId, UserId},
    events::ActorRef,
};

/// Selects the API keys that a principal created.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CreatorFilter {
    /// Created with this key, also on behalf of users and in portal sessions that it opened.
    WithKey(KeyId),
    /// Created by this user, by an operator with shell access, or by Keyswap itself.
    By(ActorRef),
}

impl FromStr for CreatorFilter {
    type Err = InvalidCreator;
    fn from_str(text: &str) -> Result<Self, InvalidCreator> {
        let principal = match text.split_once(':') {
            None => text.parse().ok().map(Self::WithKey),
            Some(("api_key", id)) => id.parse().ok().map(Self::WithKey),
            Some(("user", id)) => id.parse::<UserId>().ok().map(|_| Self::By(ActorRef::from_stored(text))),
            Some(_) => None,
        };
        let operator = || ["cli", "system"].contains(&text).then(|| Self::By(ActorRef::from_stored(text)));
        principal.or_else(operator).ok_or(InvalidCreator)
    }
}

impl TryFrom<String> for CreatorFilter {
    type Error = InvalidCreator;
    fn try_from(text: String) -> Result<Self, InvalidCreator> {
        text.parse()
    }
}

/// Returned for a text that names no creator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an API key, user:<id>, cli or system")]
pub struct InvalidCreator;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creator_is_a_key_a_user_or_an_operator() {
        let key = "key_01JD0000000000000000000000";
        let with_key = Ok(CreatorFilter::WithKey(key.parse().unwrap()));
        assert_eq!(key.parse(), with_key);
        assert_eq!(format!("api_key:{key}").parse(), with_key);
        for text in ["user:ada", "user:auth0|ada", "user:a:b", "cli", "system"] {
            assert_eq!(text.parse(), Ok(CreatorFilter::By(ActorRef::from_stored(text))), "{text}");
        }
        for text in ["", "ada", "user:", "user:a*b", "api_key:ada", "cli:x", "portal_session:x"] {
            assert_eq!(text.parse::<CreatorFilter>(), Err(InvalidCreator), "{text}");
        }
    }
}
