//! JSON Schemas of the domain types, each with a pattern, a length or an enumeration, and an
//! example. The domain does not depend on OpenAPI. A test parses examples with the described types.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::ObjectBuilder},
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
            derived_id::{CredentialId, SigningKeyId},
            id::{
                AccessRecordId, AudienceId, DeliveryId, EventId, KeyId, OrganizationId, ServiceClientId, StatusListId,
                UserId, WebhookId,
            },
            json::Metadata,
            name::DisplayName,
            time::{Span, Timestamp},
        },
        credentials::{
            api_key::KeyState,
            imported::{ImportedKeyDigest, MaskedKey},
        },
        exchange::{refusal::PermissionLimit, usage::UtcDay},
        portal::branding::{Colour, Logo, SingleLineText},
        signing::{Algorithm, SigningKeyState, rotation::WaitReason},
        webhooks::{EventTypeFilter, WebhookUrl, delivery::DeliveryState},
    },
    http::openapi::schemas::Schemas,
};

/// A ULID in Crockford's base 32. The first character is limited so that the value fits 128 bits.
macro_rules! ulid {
    ($prefix:literal) => {
        concat!("^", $prefix, "[0-7][0-9A-HJKMNP-TV-Z]{25}$")
    };
}

macro_rules! words {
    ($($type:ident $(of $part:ident)?: $schema:tt)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                schema(json!($schema))
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            $(fn schemas(schemas: &mut Schemas) {
                schemas.push(($part::name().into_owned(), $part::schema()));
            })?
        }
    )*};
}

/// Pattern of a number with a unit of time.
macro_rules! length {
    () => {
        "[0-9]{1,2}(years?|months?)|[0-9]{1,3}(days?|d)|[0-9]{1,5}(h|m|s|ms)"
    };
}

/// Characters that names must not contain (`domain/name.rs`), as far as they fit 16 bits.
const DECEPTIVE_CHARACTERS: &str = r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb";

words! {
    KeyId: { "type": "string", "pattern": (ulid!("key_")), "description": "The id of an API key: it never changes.", "examples": ["key_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    ServiceClientId: { "type": "string", "pattern": (ulid!("svc_")), "description": "The id of a service client.", "examples": ["svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    AudienceId: { "type": "string", "pattern": (ulid!("aud_")), "description": "The id of an audience.", "examples": ["aud_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    EventId: { "type": "string", "pattern": (ulid!("evt_")), "description": "The id of an event.", "examples": ["evt_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    WebhookId: { "type": "string", "pattern": (ulid!("whk_")), "description": "The id of a webhook.", "examples": ["whk_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    DeliveryId: { "type": "string", "pattern": (ulid!("whd_")), "description": "The id of a delivery.", "examples": ["whd_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    WebhookUrl: { "type": "string", "pattern": "^https?://[!-~]+$", "maxLength": 2048, "description": "Where to send events: an absolute https URL without a login or a fragment.", "examples": ["https://hooks.example/keyswap"] }
    EventTypeFilter: {
        "type": "array", "minItems": 1, "maxItems": 100, "items": { "type": "string", "pattern": r"^[a-z_]+\.([a-z_]+|\*)$" },
        "description": "Types of events, or all that begin alike.", "examples": [["api_key.created", "service_client.*"]]
    }
    DeliveryState: { "type": "string", "enum": ["waiting", "delivered", "failed"], "description": "What became of a delivery.", "examples": ["delivered"] }
    OrganizationId: { "type": "string", "pattern": "^[A-Za-z0-9._:@|-]{1,128}$", "minLength": 1, "maxLength": 128, "description": "An organization, as the product calls it; not `.` or `..`.", "examples": ["acme"] }
    UserId: { "type": "string", "pattern": "^[A-Za-z0-9._:@|-]{1,128}$", "minLength": 1, "maxLength": 128, "description": "A user, as the product calls them; not `.` or `..`, and not beginning with `organization:`, `svc_` or `key_`.", "examples": ["auth0|alice"] }
    RoleName: { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$", "minLength": 1, "maxLength": 128, "description": "The name of a role.", "examples": ["editor"] }
    RoleSet of RoleName: {
        "type": "array", "maxItems": MAX_ROLES, "items": { "$ref": "#/components/schemas/RoleName" },
        "description": "Roles, in the order of their names.", "examples": [["editor", "viewer"]]
    }
    OwnerType: { "type": "string", "enum": ["user", "organization", "service_client", "none"], "description": "Who holds a key.", "examples": ["user"] }
    TokenTypeHeader: {
        "type": "string", "pattern": "^[A-Za-z0-9.+/-]{1,64}$", "minLength": 1, "maxLength": 64,
        "description": "The `typ` of a token's header.", "examples": ["at+jwt"]
    }
    ScopeClaimFormat: { "type": "string", "enum": ["scope", "scp"], "description": "How permissions are written: one string, or an array.", "examples": ["scope"] }
    AudienceClaimFormat: { "type": "string", "enum": ["string", "array"], "description": "How one audience is written.", "examples": ["string"] }
    StatusSubject: { "type": "string", "enum": ["credential", "token"], "description": "Whose status a token points at.", "examples": ["credential"] }
    StatusListId: { "type": "string", "pattern": (ulid!("stl_")), "description": "The id of a status list.", "examples": ["stl_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    ClaimMapping: {
        "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 16,
        "description": "Claims taken from metadata: the name of each, and where its value stands.", "examples": [{ "plan": "organization.metadata.plan" }]
    }
    UnvalidatedClaimMapping: {
        "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 16,
        "description": "Claims to be taken from metadata: the name of each, and where its value stands.", "examples": [{ "plan": "organization.metadata.plan" }]
    }
    CredentialId: { "type": "string", "pattern": "^[0-9A-Za-z]{16}$", "description": "The part of a key's value that names its credential.", "examples": ["4fY7Qk2ZtR9bXw1M"] }
    SigningKeyId: { "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "The RFC 7638 thumbprint of a signing key.", "examples": ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"] }
    PermissionName: { "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$", "minLength": 1, "maxLength": 128, "description": "The name of a permission.", "examples": ["projects:read"] }
    PermissionSet of PermissionName: {
        "type": "array", "maxItems": MAX_PERMISSIONS, "items": { "$ref": "#/components/schemas/PermissionName" },
        "description": "Permissions, in the order of their names.", "examples": [["projects:read", "projects:write"]]
    }
    Identifier: {
        "type": "string", "pattern": r"^[!$-\[\]-~]{1,512}$", "minLength": 1, "maxLength": 512,
        "description": "What stands in a token's `aud`: an absolute URI or a name.", "examples": ["https://projects.example/api"]
    }
    DisplayName: {
        "type": "string", "minLength": 1, "maxLength": 200,
        "pattern": (format!(r"^[^\s{DECEPTIVE_CHARACTERS}](?:[^{DECEPTIVE_CHARACTERS}]*[^\s{DECEPTIVE_CHARACTERS}])?$")),
        "description": "A name for people: no control, invisible or bidirectional characters, no space at either end, and no API key.",
        "examples": ["Nightly report"]
    }
    SingleLineText: {
        "type": "string", "minLength": 1, "maxLength": 400,
        "pattern": (format!(r"^[^\s{DECEPTIVE_CHARACTERS}](?:[^{DECEPTIVE_CHARACTERS}]*[^\s{DECEPTIVE_CHARACTERS}])?$")),
        "description": "A text for people, on one line: no control, invisible or bidirectional characters, and no space at either end.",
        "examples": ["Keys for programs that act for Acme."]
    }
    Colour: { "type": "string", "pattern": "^#[0-9a-f]{6}$", "description": "A colour.", "examples": ["#3451b2"] }
    Logo: {
        "type": "string", "maxLength": (Logo::MAX_URL_LENGTH), "pattern": "^data:image/(png|jpeg|webp|svg\\+xml);base64,([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
        "description": "A picture of at most 30 KiB, as a data URL.", "examples": ["data:image/png;base64,iVBORw0KGgo="]
    }
    Metadata: {
        "type": "object", "additionalProperties": true,
        "description": "What the product keeps here: echoed, never interpreted. At most 16 KiB, no member twice, and no API key in it.",
        "examples": [{ "team": "billing" }]
    }
    Timestamp: {
        "type": "string", "format": "date-time", "description": "RFC 3339; in UTC, with milliseconds, where Keyswap writes it.",
        "examples": ["2030-01-31T12:00:00.000Z"]
    }
    Span: {
        "type": "string", "pattern": (concat!("^(", length!(), ")( (", length!(), "))*$")),
        "description": "A length of time, at most 100 years.", "examples": ["10m", "24h", "1h 30m"]
    }
    KeyState: { "type": "string", "enum": ["active", "suspended", "revoked", "expired"], "description": "What a key is now.", "examples": ["active"] }
    AssignableOwnerType: { "type": "string", "enum": ["user", "organization", "service_client"], "description": "Whose keys may carry a permission.", "examples": ["service_client"] }
    BuiltIn: { "type": "string", "enum": ["default", "management"], "description": "Which of the two audiences that every deployment has.", "examples": ["default"] }
    PermissionLimit: { "type": "string", "enum": ["key", "owner", "audience"], "description": "The rule that a permission does not pass.", "examples": ["audience"] }
    Algorithm: { "type": "string", "enum": ["ES256", "ES384", "EdDSA", "RS256", "PS256"], "description": "How tokens are signed.", "examples": ["ES256"] }
    SigningKeyState: { "type": "string", "enum": ["next", "active", "retiring", "removed", "revoked"], "description": "Where a signing key stands in its life.", "examples": ["active"] }
    WaitReason: { "type": "string", "enum": ["due", "verifiers", "period", "replicas", "tokens"], "description": "What a step of a rotation waits for.", "examples": ["verifiers"] }
    ImportedKeyDigest: { "type": "string", "pattern": "^[0-9A-Fa-f]{64}$", "minLength": 64, "maxLength": 64, "description": "The SHA-256 digest of a whole key of another make, in hexadecimal.", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] }
    MaskedKey: {
        "type": "string", "minLength": 1, "maxLength": 40, "pattern": (format!(r"^(?:[^\s{DECEPTIVE_CHARACTERS}][^{DECEPTIVE_CHARACTERS}]*)?(?:…|\.\.\.)(?:[^{DECEPTIVE_CHARACTERS}]*[^\s{DECEPTIVE_CHARACTERS}])?$")),
        "description": "What is shown of a key of another make, with `…` or `...` where the rest was.", "examples": ["sk_live_…abcd"]
    }
    UtcDay: { "type": "string", "format": "date", "description": "A day in UTC.", "examples": ["2030-01-31"] }
    AccessRecordId: { "type": "string", "pattern": (ulid!("rec_")), "description": "The id of an access record.", "examples": ["rec_01JD8V3T6Q4Z9R7M2N5K8P1XYA"] }
    Resource: {
        "type": "string", "pattern": (RESOURCE), "minLength": 1, "maxLength": MAX_LENGTH,
        "description": "A resource: an absolute path or URI, without empty, `.` or `..` parts, `?`, `#` and `*`.",
        "examples": ["/Users/alice/Resources/7", "https://docs.example/drafts/7"]
    }
    ResourcePattern: {
        "type": "string", "pattern": (RESOURCE), "minLength": 1, "maxLength": MAX_LENGTH,
        "description": "Resources: an absolute path or URI, without empty, `.` or `..` parts, `?` and `#`. A part of the path that is `*` stands for any \
            one part, and at the end for one or more.",
        "examples": ["/Users/alice/Resources/*", "/Users/*/profile"]
    }
    PrincipalType: { "type": "string", "enum": ["user", "service_client", "api_key"], "description": "For whom an access record is.", "examples": ["user"] }
    AuthorizationDetailType: {
        "type": "string", "enum": ["urn:keyswap:params:oauth:authorization-details:access"],
        "description": "What Keyswap writes into `authorization_details`.", "examples": ["urn:keyswap:params:oauth:authorization-details:access"]
    }
}

/// An absolute path, or a scheme and the rest of a URI. `domain/resource.rs` defines the
/// characters.
const RESOURCE: &str = r"^(/|[A-Za-z][A-Za-z0-9+.-]*:)[!$%&(->@-\[\]-_a-z|~]+$";

/// Converts JSON to a schema. A test checks all of them.
pub(super) fn schema(json: Value) -> RefOr<Schema> {
    serde_json::from_value(json).unwrap_or_else(|_| ObjectBuilder::new().into())
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::to_value;

    use super::*;
    use crate::domain::signing;

    fn reads<T: ToSchema + DeserializeOwned>() {
        let schema = to_value(T::schema()).unwrap();
        for example in schema["examples"].as_array().unwrap() {
            assert!(serde_json::from_value::<T>(example.clone()).is_ok(), "{}: {example}", T::name());
        }
    }

    fn lists<T: ToSchema + serde::Serialize>(all: &[T]) {
        assert_eq!(to_value(T::schema()).unwrap()["enum"], to_value(all).unwrap(), "{}", T::name());
    }

    #[test]
    fn every_example_is_one_and_every_list_is_whole() {
        reads::<KeyId>();
        reads::<ServiceClientId>();
        reads::<AudienceId>();
        reads::<EventId>();
        reads::<CredentialId>();
        reads::<SigningKeyId>();
        reads::<PermissionName>();
        reads::<PermissionSet>();
        reads::<Identifier>();
        reads::<DisplayName>();
        reads::<Metadata>();
        reads::<Timestamp>();
        reads::<ImportedKeyDigest>();
        reads::<MaskedKey>();
        reads::<Span>();
        reads::<AccessRecordId>();
        reads::<Resource>();
        reads::<ResourcePattern>();
        reads::<AuthorizationDetailType>();
        lists(&PrincipalType::ALL);
        lists(&[KeyState::Active, KeyState::Suspended, KeyState::Revoked, KeyState::Expired]);
        lists(&[AssignableOwnerType::User, AssignableOwnerType::Organization, AssignableOwnerType::ServiceClient]);
        lists(&[BuiltIn::Default, BuiltIn::Management]);
        lists(&[PermissionLimit::Key, PermissionLimit::Owner, PermissionLimit::Audience]);
        lists(&Algorithm::ALL);
        lists(&signing::SigningKeyState::ALL);
    }
}
