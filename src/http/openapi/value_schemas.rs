//! JSON Schemas of values of the domain, each with a pattern, a length or an enumeration, and an
//! example. A test parses examples with the described types.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use crate::{
    domain::{
        access::{
            access_record::{AuthorizationDetailType, PrincipalType},
            audience::{BuiltIn, Identifier},
            claim_map::{ClaimMapping, UnvalidatedClaimMapping},
            owner::OwnerType,
            permission::{AssignableOwnerType, MAX_PERMISSIONS, PermissionName, PermissionSet},
            resource::{MAX_LENGTH, Resource, ResourcePattern},
            role::{MAX_ROLES, RoleName, RoleSet},
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenTypeHeader},
        },
        common::{
            derived_id::{CredentialId, PortalSessionId, SigningKeyId},
            id::{
                AccessRecordId, AudienceId, DeliveryId, EventId, KeyId, MAX_PRODUCT_ID_LENGTH, OrganizationId,
                ServiceClientId, StatusListId, UserId, WebhookId,
            },
            json::Metadata,
            name::{Description, DisplayName},
            time::{Span, Timestamp},
        },
        credentials::{
            api_key::KeyState,
            imported::{ImportedKeyDigest, MaskedKey},
        },
        event_filter::EventOrder,
        exchange::{refusal::PermissionLimit, usage::UtcDay},
        portal::{
            branding::{Color, Logo, SingleLineText},
            session::PortalSessionKind,
        },
        signing::{Algorithm, SigningKeyState, rotation::WaitReason},
        webhooks::{EventTypeFilter, WebhookUrl, delivery::DeliveryState},
    },
    http::openapi::schemas::Schemas,
};

macro_rules! define_schemas {
    ($($type:ident $(of $item:ident)?: $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            $(fn schemas(schemas: &mut Schemas) {
                schemas.push(($item::name().into_owned(), $item::schema()));
            })?
        }
    )*};
}

/// Pattern of a duration with its unit.
macro_rules! duration {
    () => {
        "[0-9]{1,2}(years?|months?)|[0-9]{1,3}(days?|d)|[0-9]{1,5}(h|m|s|ms)"
    };
}

/// Characters that names must not contain (`domain/common/name.rs`), as far as they fit 16 bits.
/// U+200C, U+200D, U+FE0E and U+FE0F are left out: names may contain them within emoji and between
/// letters, which a pattern cannot express.
const DECEPTIVE_CHARACTERS: &str = r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb";
/// An absolute path, or a scheme and the rest of a URI. `domain/access/resource.rs` defines the
/// characters.
const RESOURCE: &str = r"^(/|[A-Za-z][A-Za-z0-9+.-]*:)[!$%&(->@-\[\]-_a-z|~]+$";
const NAME: &str = "^[A-Za-z0-9._:-]{1,128}$";
/// Printable ASCII without the wildcard, and without spaces at either end.
const PRODUCT_ID: &str = r"^[!-)+-~]([ -)+-~]*[!-)+-~])?$";
const CLAIM_MAPPING: &str = "Claims to copy from metadata: the name of each claim, and the path of its value.";

/// A string.
fn text(description: &str, pattern: impl Into<String>, example: &str) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    text.pattern(Some(pattern)).examples([example])
}

/// A string of 1 to `max` characters.
fn bounded_text(max: usize, description: &str, pattern: impl Into<String>, example: &str) -> ObjectBuilder {
    text(description, pattern, example).min_length(Some(1)).max_length(Some(max))
}

/// An id: a prefix and a ULID in Crockford's base 32. The first character is limited so that the
/// value fits 128 bits.
fn id(prefix: &str, description: &str) -> ObjectBuilder {
    text(
        description,
        format!("^{prefix}[0-7][0-9A-HJKMNP-TV-Z]{{25}}$"),
        &format!("{prefix}01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
    )
}

/// A string with a format.
fn formatted_text(format: KnownFormat, description: &str, example: &str) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
    text.description(Some(description)).examples([example])
}

/// One of several strings.
fn text_choice<const N: usize>(description: &str, values: [&str; N]) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    text.examples(values.first().copied()).enum_values(Some(values))
}

/// A text for people, without deceptive characters and without spaces at either end.
fn display_text(max: usize, description: &str, example: &str) -> ObjectBuilder {
    let edge = format!(r"[^\s{DECEPTIVE_CHARACTERS}]");
    bounded_text(max, description, format!("^{edge}(?:[^{DECEPTIVE_CHARACTERS}]*{edge})?$"), example)
}

fn claim_mapping() -> RefOr<Schema> {
    from_json(json!({
        "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 16,
        "description": CLAIM_MAPPING, "examples": [{ "plan": "organization.metadata.plan" }],
    }))
}

/// Converts JSON to a schema. A test checks all of them.
pub(super) fn from_json(json: Value) -> RefOr<Schema> {
    serde_json::from_value(json).unwrap_or_else(|_| ObjectBuilder::new().into())
}

define_schemas! {
    KeyId: id(Self::PREFIX, "The id of an API key. It never changes.");
    ServiceClientId: id(Self::PREFIX, "The id of a service client.");
    AudienceId: id(Self::PREFIX, "The id of an audience.");
    EventId: id(Self::PREFIX, "The id of an event.");
    WebhookId: id(Self::PREFIX, "The id of a webhook.");
    DeliveryId: id(Self::PREFIX, "The id of a delivery.");
    StatusListId: id(Self::PREFIX, "The id of a status list.");
    AccessRecordId: id(Self::PREFIX, "The id of an access record.");
    CredentialId: text("The public part of the value of a key, which identifies its credential.", "^[0-9A-Za-z]{16}$", "4fY7Qk2ZtR9bXw1M");
    PortalSessionId: text("The id of a portal session.", "^pss_[0-9A-Za-z]{16}$", "pss_4fY7Qk2ZtR9bXw1M");
    PortalSessionKind: text_choice(
        "How a session is presented: in a header (`token`), in the URL of the hosted page (`code`, once), or in a cookie (`page`).",
        ["token", "code", "page"]
    );
    SigningKeyId: text("The RFC 7638 thumbprint of a signing key.", "^[A-Za-z0-9_-]{43}$", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    OrganizationId: bounded_text(
        MAX_PRODUCT_ID_LENGTH,
        "The id of an organization, assigned by the product and percent-encoded in paths. Neither plain nor percent-encoded it contains `*`, a \
         control character, or `.` or `..` between slashes or backslashes. It does not begin with a quote.",
        PRODUCT_ID,
        "acme"
    );
    UserId: bounded_text(
        MAX_PRODUCT_ID_LENGTH,
        "The id of a user, assigned by the product and percent-encoded in paths. Neither plain nor percent-encoded it contains `*`, a \
         control character, or `.` or `..` between slashes or backslashes. It does not begin with a quote, `organization:`, `svc_` or `key_`.",
        PRODUCT_ID,
        "auth0|alice"
    );
    RoleName: bounded_text(128, "The name of a role.", NAME, "editor");
    RoleSet of RoleName: from_json(json!({
        "type": "array", "maxItems": MAX_ROLES, "items": { "$ref": "#/components/schemas/RoleName" },
        "description": "Roles, ordered by name.", "examples": [["editor", "viewer"]],
    }));
    PermissionName: bounded_text(128, "The name of a permission.", NAME, "projects:read");
    PermissionSet of PermissionName: from_json(json!({
        "type": "array", "maxItems": MAX_PERMISSIONS, "items": { "$ref": "#/components/schemas/PermissionName" },
        "description": "Permissions, ordered by name.", "examples": [["projects:read", "projects:write"]],
    }));
    Identifier: bounded_text(512, "The value of `aud` in a token: an absolute URI or a name.", r"^[!$-\[\]-~]{1,512}$", "https://projects.example/api");
    DisplayName: display_text(
        200,
        "A display name, without control, invisible or bidirectional characters, without spaces at either end, and without an API key.",
        "Nightly report"
    );
    Description: display_text(
        500,
        "A description on one line, under the rules of a display name.",
        "Used by the nightly job of the billing team."
    );
    SingleLineText: display_text(
        400,
        "A text on one line, without control, invisible or bidirectional characters, and without spaces at either end.",
        "Keys for programs that act for Acme."
    );
    Color: text("A color.", "^#[0-9a-f]{6}$", "#3451b2");
    Logo: text(
        "An image of at most 30 KiB, as a data URL.",
        r"^data:image/(png|jpeg|webp|svg\+xml);base64,([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
        "data:image/png;base64,iVBORw0KGgo="
    ).max_length(Some(Self::MAX_URL_LENGTH));
    Metadata: from_json(json!({
        "type": "object", "additionalProperties": true,
        "description": "Data of the product, which Keyswap stores and returns unchanged. At most 16 KiB, without duplicate members and \
            without API keys.",
        "examples": [{ "team": "billing" }],
    }));
    Timestamp: formatted_text(KnownFormat::DateTime, "RFC 3339. Responses use UTC and milliseconds.", "2030-01-31T12:00:00.000Z");
    UtcDay: formatted_text(KnownFormat::Date, "A day in UTC.", "2030-01-31");
    Span: text("A duration of at most 100 years.", concat!("^(", duration!(), ")( (", duration!(), "))*$"), "10m").examples(["10m", "24h", "1h 30m"]);
    KeyState: text_choice("The state of a key.", ["active", "suspended", "revoked", "expired"]);
    OwnerType: text_choice("The type of the owner of a key.", ["user", "organization", "service_client", "none"]);
    AssignableOwnerType: text_choice("The type of owner whose keys may have a permission.", ["user", "organization", "service_client"]);
    PrincipalType: text_choice("The type of a principal of an access record.", ["user", "service_client", "api_key"]);
    BuiltIn: text_choice("Which of the two built-in audiences this is.", ["default", "management"]);
    PermissionLimit: text_choice("The rule that removes a permission.", Self::ALL.map(Self::as_str));
    TokenTypeHeader: bounded_text(64, "The `typ` header of a token.", "^[A-Za-z0-9.+/-]{1,64}$", "at+jwt");
    ScopeClaimFormat: text_choice("The claim that contains the permissions: `scope` as one string, or `scp` as an array.", ["scope", "scp"]);
    AudienceClaimFormat: text_choice("The format of `aud` if it contains one audience.", ["string", "array"]);
    StatusSubject: text_choice("What the status of a token applies to.", ["credential", "token"]);
    ClaimMapping: claim_mapping();
    UnvalidatedClaimMapping: claim_mapping();
    Algorithm: text_choice("A signature algorithm.", ["ES256", "ES384", "EdDSA", "RS256", "PS256"]);
    SigningKeyState: text_choice("The state of a signing key.", ["next", "active", "retiring", "removed", "revoked"]);
    WaitReason: text_choice("What a step of a rotation waits for.", ["due", "verifiers", "period", "replicas", "tokens"]);
    ImportedKeyDigest: text(
        "The SHA-256 digest of a complete imported key, in hexadecimal.",
        "^[0-9A-Fa-f]{64}$",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    ).min_length(Some(64)).max_length(Some(64));
    MaskedKey: bounded_text(
        40,
        "The masked form of an imported key, with `…` or `...` in place of its secret part.",
        format!(r"^(?:[^\s{DECEPTIVE_CHARACTERS}][^{DECEPTIVE_CHARACTERS}]*)?(?:…|\.\.\.)(?:[^{DECEPTIVE_CHARACTERS}]*[^\s{DECEPTIVE_CHARACTERS}])?$"),
        "sk_live_…abcd"
    );
    Resource: bounded_text(
        MAX_LENGTH,
        "A resource: an absolute path or URI, without empty, `.` or `..` segments, `?`, `#` and `*`.",
        RESOURCE,
        "/Users/alice/Resources/7"
    ).examples(["/Users/alice/Resources/7", "https://docs.example/drafts/7"]);
    ResourcePattern: bounded_text(
        MAX_LENGTH,
        "A pattern of resources: an absolute path or URI, without empty, `.` or `..` segments, `?` and `#`. The segment `*` matches any one \
         segment, and at the end one or more.",
        RESOURCE,
        "/Users/alice/Resources/*"
    ).examples(["/Users/alice/Resources/*", "/Users/*/profile"]);
    AuthorizationDetailType: text_choice(
        "The type of the `authorization_details` of Keyswap.",
        ["urn:keyswap:params:oauth:authorization-details:access"]
    );
    WebhookUrl: text(
        "The destination of events: an absolute https URL without user information and fragment.",
        "^https?://[!-~]+$",
        "https://hooks.example/keyswap"
    ).max_length(Some(2048));
    EventTypeFilter: from_json(json!({
        "type": "array", "minItems": 1, "maxItems": 100, "items": { "type": "string", "pattern": r"^[a-z_]+\.([a-z_]+|\*)$" },
        "description": "Event types, such as `api_key.created`, and groups of them, such as `api_key.*`.",
        "examples": [["api_key.created", "service_client.*"]],
    }));
    EventOrder: text_choice("The order of events.", ["oldest", "newest"]).default(Some(json!("oldest")));
    DeliveryState: text_choice("The state of a delivery.", ["waiting", "delivered", "failed"]);
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::to_value;

    use super::*;
    use crate::domain::signing;

    fn accepts_examples<T: ToSchema + DeserializeOwned>() {
        let schema = to_value(T::schema()).unwrap();
        for example in schema["examples"].as_array().unwrap() {
            assert!(serde_json::from_value::<T>(example.clone()).is_ok(), "{}: {example}", T::name());
        }
    }

    fn lists_all<T: ToSchema + serde::Serialize>(all: &[T]) {
        assert_eq!(to_value(T::schema()).unwrap()["enum"], to_value(all).unwrap(), "{}", T::name());
    }

    #[test]
    fn every_example_is_valid_and_every_enumeration_complete() {
        accepts_examples::<KeyId>();
        accepts_examples::<ServiceClientId>();
        accepts_examples::<AudienceId>();
        accepts_examples::<EventId>();
        accepts_examples::<CredentialId>();
        accepts_examples::<SigningKeyId>();
        accepts_examples::<PortalSessionId>();
        accepts_examples::<PermissionName>();
        accepts_examples::<PermissionSet>();
        accepts_examples::<Identifier>();
        accepts_examples::<DisplayName>();
        accepts_examples::<Description>();
        accepts_examples::<Metadata>();
        accepts_examples::<Timestamp>();
        accepts_examples::<ImportedKeyDigest>();
        accepts_examples::<MaskedKey>();
        accepts_examples::<Span>();
        accepts_examples::<AccessRecordId>();
        accepts_examples::<Resource>();
        accepts_examples::<ResourcePattern>();
        accepts_examples::<AuthorizationDetailType>();
        lists_all(&PrincipalType::ALL);
        lists_all(&[KeyState::Active, KeyState::Suspended, KeyState::Revoked, KeyState::Expired]);
        lists_all(&[AssignableOwnerType::User, AssignableOwnerType::Organization, AssignableOwnerType::ServiceClient]);
        lists_all(&[BuiltIn::Default, BuiltIn::Management]);
        lists_all(&PermissionLimit::ALL);
        lists_all(&Algorithm::ALL);
        lists_all(&PortalSessionKind::ALL);
        lists_all(&signing::SigningKeyState::ALL);
    }
}
