//! Values that are read from a text. What is accepted has one meaning: its written form is read as
//! the same value.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use keyswap::{
    domain::{
        access::{
            audience::Identifier,
            claim_map::{ClaimName, ClaimSource},
            permission::{PermissionName, parse_scope},
            role::RoleName,
            token_profile::TokenTypeHeader,
        },
        common::{
            derived_id::{CredentialId, PortalSessionId, SigningKeyId},
            id::{AccessRecordId, AudienceId, KeyId, OrganizationId, ServiceClientId, UserId},
            json::{Metadata, MetadataPatch, StrictJson},
            name::{Description, DisplayName},
            origin::Origin,
            preconditions::{EntityTag, Preconditions, StoredObject, TagList},
            time::{Span, Timestamp},
        },
        credentials::format::Prefix,
        portal::branding::{Color, Logo, SingleLineText},
        webhooks::{EventTypePattern, WebhookUrl},
    },
    service::credentials::caller::OnBehalfOf,
};

/// The first byte selects the kind of value.
pub fn run(input: &[u8]) -> Option<()> {
    let (kind, bytes) = input.split_first()?;
    if *kind == b'"' {
        check_tags(bytes);
        return Some(());
    }
    let text = str::from_utf8(bytes).ok()?;
    match kind {
        b'a' => check_text::<Identifier>(text),
        b'b' => check_text::<Color>(text),
        b'c' => check_text::<ClaimName>(text),
        b'd' => check_text::<Description>(text),
        b'e' => check_text::<EventTypePattern>(text),
        b'h' => check_text::<TokenTypeHeader>(text),
        b'i' => check_ids(text),
        b'j' => check_json(text),
        b'k' => check_text::<Prefix>(text),
        b'l' => check_text::<Logo>(text),
        b'm' => check_text::<SingleLineText>(text),
        b'n' => check_text::<DisplayName>(text),
        b'o' => check_text::<Origin>(text),
        b'p' => check_text::<PermissionName>(text),
        b'r' => check_text::<RoleName>(text),
        b's' => check_text::<Span>(text),
        b't' => check_text::<Timestamp>(text),
        b'u' => check_text::<ClaimSource>(text),
        b'w' => check_text::<WebhookUrl>(text),
        b'x' => check_scope(text),
        b'y' => check_on_behalf_of(text),
        _ => return None,
    }
    Some(())
}

fn check_text<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let again = written.parse::<T>();
            assert!(again.is_ok_and(|again| again == value), "{text:?} is written as {written:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An id has exactly one spelling.
fn check_ids(text: &str) {
    fn check<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
        check_text::<T>(text);
        if let Ok(id) = text.parse::<T>() {
            assert_eq!(id.to_string(), text);
        }
    }
    check::<AccessRecordId>(text);
    check::<AudienceId>(text);
    check::<CredentialId>(text);
    check::<KeyId>(text);
    check::<OrganizationId>(text);
    check::<PortalSessionId>(text);
    check::<ServiceClientId>(text);
    check::<SigningKeyId>(text);
    check::<UserId>(text);
    assert!(text.parse::<UserId>().is_err() || text.parse::<KeyId>().is_err(), "a user has the id of a key: {text}");
}

fn check_json(text: &str) {
    let strict = serde_json::from_str::<StrictJson>(text);
    if let Ok(metadata) = Metadata::parse(text) {
        assert!(strict.is_ok(), "{text}");
        let written = metadata.to_json();
        assert!(written.len() <= Metadata::MAX_BYTES);
        assert_eq!(Metadata::parse(&written).unwrap(), metadata);
        // Merged into nothing, a patch is itself without its nulls.
        if let Ok(patch) = serde_json::from_str::<MetadataPatch>(text) {
            let merged = patch.clone().apply(&Metadata::default()).unwrap();
            assert_eq!(patch.apply(&merged).unwrap(), merged, "a second merge changes nothing: {text}");
        }
    }
}

fn check_tags(bytes: &[u8]) {
    let parse = |separator: u8| TagList::parse(bytes.split(|byte| *byte == separator));
    for list in [parse(b'\n'), TagList::parse([bytes])].into_iter().flatten() {
        for stored in [StoredObject::Absent, StoredObject::Unversioned, StoredObject::Version(3)] {
            let both = Preconditions { if_match: list.clone(), if_none_match: list.clone() };
            // The same list is never both a match and none.
            assert!(both.check(stored).is_err() || list.is_none(), "{list:?} {stored:?}");
            let none = Preconditions { if_match: None, if_none_match: list.clone() };
            assert!(none.check(StoredObject::Absent).is_ok());
        }
    }
    if let Some(tag) = str::from_utf8(bytes).ok().and_then(EntityTag::parse) {
        assert_eq!(EntityTag::parse(&tag.to_string()), Some(tag));
    }
}

fn check_scope(text: &str) {
    if let Ok(permissions) = parse_scope(text) {
        assert_eq!(parse_scope(&permissions.to_string()).unwrap(), permissions, "{text:?}");
    }
}

fn check_on_behalf_of(text: &str) {
    let Some(OnBehalfOf { user, organization }) = OnBehalfOf::parse(text) else { return };
    let quote = |id: &str| format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""));
    let mut written = quote(user.as_str());
    if let Some(organization) = &organization {
        written.push_str(&format!("; organization={}", quote(organization.as_str())));
    }
    let again = OnBehalfOf::parse(&written).unwrap();
    assert_eq!((again.user, again.organization), (user, organization), "{text:?}");
}
