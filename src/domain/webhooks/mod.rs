//! Webhooks: the destinations to which events of the audit log are sent, and which events.

pub mod delivery;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::domain::{
    common::{
        id::{OrganizationId, WebhookId},
        key_text::contains_api_key,
        name::Description,
        text::{display_as_str, impl_serde_as_text, text_enum, text_type},
        time::Timestamp,
    },
    events::{ActorRef, Event, EventType},
};

/// A destination of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: WebhookUrl,
    pub description: Option<Description>,
    /// `None` for all events.
    pub event_types: Option<EventTypeFilter>,
    /// `None` for events of any organization and of none.
    pub organization: Option<OrganizationId>,
    pub state: WebhookState,
    /// Until when messages are also signed with the previous secret.
    pub previous_secret_expires_at: Option<Timestamp>,
    /// Nothing is sent before this time, because the receiver responded that it is overloaded or
    /// unavailable.
    pub paused_until: Option<Timestamp>,
    /// Position in the audit log of the last event that was evaluated for the webhook.
    pub event_cursor: i64,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub version: i64,
}

impl Webhook {
    pub fn matches_event(&self, event: &Event) -> bool {
        self.event_types.as_ref().is_none_or(|types| types.matches(&event.kind))
            && self.organization.as_ref().is_none_or(|own| event.organization_id.as_deref() == Some(own.as_str()))
    }
}

/// Whether events are sent to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    Enabled,
    /// The cursor is kept: events that occur in the meantime are sent after the webhook is enabled
    /// again.
    Disabled(DisableReason),
}

text_enum! {
    /// Reason why a webhook is disabled.
    pub enum DisableReason {
        /// An administrator disabled the webhook.
        ByAdministrator = "requested",
        /// The receiver responded with status 410.
        ReceiverGone = "gone",
        /// The last attempt of a delivery failed, and nothing else was delivered in the meantime.
        RetriesExhausted = "exhausted",
    }
}

/// An absolute `http` or `https` URL without userinfo and fragment. The guard in `outbound` decides
/// whether a connection to it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn uses_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    pub fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidUrl;
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // URL parsers remove line breaks and tabs and convert backslashes. A text that other
        // parsers would read differently is therefore refused before it is parsed.
        if text.len() > 2048
            || text.contains('\\')
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
            || contains_api_key(text)
        {
            return Err(InvalidUrl);
        }
        let url = Url::parse(text).map_err(|_| InvalidUrl)?;
        let ok = ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && !text.contains('@')
            && url.fragment().is_none();
        if ok { Ok(Self(url)) } else { Err(InvalidUrl) }
    }
}

display_as_str!(WebhookUrl);
impl_serde_as_text!(WebhookUrl);

/// Returned for a text that is not a valid URL of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give an https:// URL of at most 2048 ASCII characters, without a login, `@`, a fragment, spaces or an API key in it"
)]
pub struct InvalidUrl;

/// Types of events, or prefixes of them: `api_key.created`, `service_client.*`. Sorted, without
/// duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<EventTypePattern>")]
pub struct EventTypeFilter(Vec<EventTypePattern>);

impl EventTypeFilter {
    /// Maximum number of entries of one webhook.
    pub const MAX_ENTRIES: usize = 100;

    pub fn matches(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => kind == pattern.0,
        })
    }

    /// Returns the stored form: entries separated by one space.
    pub fn to_stored(&self) -> String {
        self.0.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub fn from_stored(text: &str) -> Result<Self, InvalidEventTypeFilter> {
        // Entries are not compared with the types that exist: a newer version may have removed a
        // type, but must still read the webhook.
        Self::try_from(text.split(' ').map(|one| EventTypePattern(one.to_owned())).collect::<Vec<_>>())
    }
}

impl TryFrom<Vec<EventTypePattern>> for EventTypeFilter {
    type Error = InvalidEventTypeFilter;
    fn try_from(mut types: Vec<EventTypePattern>) -> Result<Self, InvalidEventTypeFilter> {
        types.sort();
        types.dedup();
        if (1..=Self::MAX_ENTRIES).contains(&types.len()) { Ok(Self(types)) } else { Err(InvalidEventTypeFilter) }
    }
}

/// Returned for no entry, or for more than `EventTypeFilter::MAX_ENTRIES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name 1 to 100 types of events; leave event_types out for all of them")]
pub struct InvalidEventTypeFilter;

text_type! {
    /// An entry of `EventTypeFilter`.
    pub struct EventTypePattern(|text| EventType::ALL.iter().any(|kind| match text.strip_suffix(".*") {
        Some(group) => kind.as_str().strip_prefix(group).is_some_and(|rest| rest.starts_with('.')),
        None => kind.as_str() == text,
    }));

    #[error("give the type of an event, such as api_key.created, or all that begin alike, such as api_key.*")]
    pub struct InvalidEventTypePattern;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_that_every_parser_reads_alike() {
        for ok in ["https://a.test/", "https://a.test:8443/hook?x=1", "http://127.0.0.1:1/", "https://[2606:4700::1]/"]
        {
            assert!(ok.parse::<WebhookUrl>().is_ok(), "{ok}");
        }
        for wrong in [
            "",
            "a.test",
            "//a.test/",
            "ftp://a.test/",
            "file:///etc/passwd",
            "gopher://a.test/",
            "https://",
            "https:///",
            "https://u@a.test/",
            "https://u:p@a.test/",
            "https://a.test@127.0.0.1/",
            "https://a.test/#part",
            "https://a.test/ b",
            "https://a.test/\r\nX: y",
            "https://a.test\\@b.test/",
            "https:\\\\a.test/",
            "https://\u{e9}.test/",
            "https://a.test/?k=ks_0123456789abcdef_0123456789abcdefghijklmnopqrstUV000000",
            "javascript:alert(1)",
        ] {
            assert!(wrong.parse::<WebhookUrl>().is_err(), "{wrong}");
        }
        let host = |text: &str| text.parse::<WebhookUrl>().unwrap().host().unwrap().to_string();
        for disguised in ["https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/"] {
            assert_eq!(host(disguised), "127.0.0.1", "{disguised}");
        }
    }

    #[test]
    fn event_types_are_known_ones_or_begin_like_one() {
        for ok in ["api_key.created", "api_key.*", "webhook.*", "signing_key.*"] {
            assert!(ok.parse::<EventTypePattern>().is_ok(), "{ok}");
        }
        for wrong in [
            "",
            "*",
            ".*",
            "api.*",
            "api_key",
            "api_key.",
            "api_key.no",
            "api_key.created.*",
            "API_KEY.*",
            "api_key.c*",
        ] {
            assert!(wrong.parse::<EventTypePattern>().is_err(), "{wrong}");
        }
        let types =
            EventTypeFilter::try_from(vec!["api_key.*".parse().unwrap(), "audience.created".parse().unwrap()]).unwrap();
        assert!(types.matches("api_key.revoked") && types.matches("audience.created"));
        assert!(!types.matches("audience.deleted") && !types.matches("api_keys.created"));
        assert_eq!(EventTypeFilter::from_stored(&types.to_stored()).unwrap(), types);
    }
}
