//! The stored form of each domain value: how Diesel writes it into a column and reads it. A value
//! that cannot be read is an error that names the column.

use crate::{
    domain::{
        access::{
            access_record::{Principal, PrincipalType},
            audience::{AcceptedPermissions, BuiltIn, Identifier},
            claim_map::ClaimMapping,
            owner::{Owner, OwnerScope, OwnerType},
            owner_status::DeletionCause,
            permission::{PermissionName, PermissionSet},
            policy::GrantablePermissions,
            role::{RoleName, RoleSet},
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenTypeHeader},
        },
        common::{
            derived_id::{CredentialId, PortalSessionId, SigningKeyId},
            encryption::Encrypted,
            id::{
                AccessRecordId, AudienceId, DeliveryId, EventId, GenerationId, KeyId, OrganizationId, ReplicaId,
                ServiceClientId, StatusListId, UserId, WebhookId,
            },
            json::Metadata,
            name::{Description, DisplayName},
            time::{Span, Timestamp},
        },
        credentials::{format::Prefix, imported::MaskedKey},
        events::ActorRef,
        exchange::usage::{UtcDay, UtcHour},
        portal::session::PortalSessionKind,
        signing::{Algorithm, SigningKeyState, master_key::MasterKeyState},
        status_lists::{StatusListIndex, StatusListKind},
        webhooks::{DisableReason, EventTypeFilter, WebhookState, WebhookUrl, delivery::DeliveryState},
    },
    store::{error::StoreError, pool::MultiBackend},
};
use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::Pg,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{BigInt, Binary, Integer, Nullable, Text},
    sqlite::Sqlite,
};

/// Reads `$type` from a column, in each backend. The implementations are not generic: bounds on a
/// generic backend take minutes to compile.
macro_rules! from_sql {
    ($backend:ty $(, $more:ty)*: $type:ty as $sql:ident($raw:ty), $from:expr) => {
        impl FromSql<$sql, $backend> for $type {
            fn from_sql(bytes: <$backend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                let from: fn($raw) -> deserialize::Result<Self> = $from;
                from(<$raw as FromSql<$sql, $backend>>::from_sql(bytes)?)
            }
        }
        $crate::store::columns::from_sql!($($more),*: $type as $sql($raw), $from);
    };
    (: $type:ty as $sql:ident($raw:ty), $from:expr) => {};
}

pub(crate) use from_sql;

/// Stores domain types in a column of type `$sql`, as a value of type `$raw`.
macro_rules! stored {
    ($($type:ty as $sql:ident($raw:ty): $to:expr, $from:expr;)+) => {$(
        const _: () = {
            #[derive(AsExpression, FromSqlRow)]
            #[diesel(foreign_derive)]
            #[diesel(sql_type = $sql)]
            #[expect(dead_code, reason = "Diesel derives the implementations for the type of its field")]
            struct Column($type);

            $crate::store::columns::from_sql!(Sqlite, Pg, MultiBackend: $type as $sql($raw), $from);

            impl ToSql<$sql, Sqlite> for $type {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    out.set_value($to(self));
                    Ok(IsNull::No)
                }
            }

            impl ToSql<$sql, Pg> for $type {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                    ToSql::<$sql, Pg>::to_sql(&$to(self), &mut out.reborrow())
                }
            }

            impl ToSql<$sql, MultiBackend> for $type {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                    out.set_value(($sql, self));
                    Ok(IsNull::No)
                }
            }
        };
    )+};
}

pub(crate) use stored;

/// Stores types by their `Display` and `FromStr`.
macro_rules! stored_as_text {
    ($($type:ty),+ $(,)?) => {
        stored! { $($type as Text(String): ToString::to_string, |text| Ok(text.parse()?);)+ }
    };
}

stored_as_text!(
    AccessRecordId,
    AudienceClaimFormat,
    AudienceId,
    CredentialId,
    DeliveryId,
    Description,
    DisplayName,
    EventId,
    GenerationId,
    Identifier,
    KeyId,
    MaskedKey,
    OrganizationId,
    PermissionName,
    PortalSessionId,
    Prefix,
    ReplicaId,
    RoleName,
    ScopeClaimFormat,
    ServiceClientId,
    SigningKeyId,
    StatusListId,
    StatusSubject,
    TokenTypeHeader,
    UserId,
    WebhookId,
    WebhookUrl,
);

/// Stores enums that `text_enum` defines by their text.
macro_rules! stored_enums {
    ($($type:ty),+ $(,)?) => {
        stored! { $($type as Text(String):
            |value: &$type| value.as_str().to_owned(),
            |text| <$type>::ALL.into_iter().find(|value| value.as_str() == text).ok_or_else(|| format!("unknown value {text}").into());
        )+ }
    };
}

stored_enums!(
    Algorithm,
    BuiltIn,
    DeletionCause,
    DeliveryState,
    DisableReason,
    MasterKeyState,
    OwnerType,
    PortalSessionKind,
    PrincipalType,
    SigningKeyState,
    StatusListKind,
);

stored! {
    ActorRef as Text(String): ActorRef::to_stored, |text| Ok(ActorRef::from_stored(&text));
    EventTypeFilter as Text(String): EventTypeFilter::to_stored, |text| Ok(EventTypeFilter::from_stored(&text)?);
    Metadata as Text(String): Metadata::to_json, |text| Ok(Metadata::parse(&text)?);
    PermissionSet as Text(String): ToString::to_string, |text| Ok(PermissionSet::from_stored(&text)?);
    RoleSet as Text(String): ToString::to_string, |text| Ok(RoleSet::from_stored(&text)?);
    UtcDay as BigInt(i64): |day: &UtcDay| day.number(), |number| Ok(UtcDay::from_number(number));
    UtcHour as BigInt(i64): |hour: &UtcHour| hour.number(), |number| Ok(UtcHour::from_number(number));
    Timestamp as BigInt(i64): |at: &Timestamp| at.millis(), |millis| Ok(Timestamp::from_millis(millis));
    Span as BigInt(i64): |span: &Span| span.millis(), |millis| Ok(Span::from_millis(u64::try_from(millis)?));
}

/// Reads types whose default is stored as NULL.
macro_rules! default_is_null {
    ($($type:ty),+: $backends:tt) => {$(default_is_null! { @ $type: $backends })+};
    (@ $type:ty: ($($backend:ty),+)) => {$(
        impl FromSql<Nullable<Text>, $backend> for $type {
            fn from_sql(bytes: <$backend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(<String as FromSql<Text, $backend>>::from_sql(bytes)?.parse()?)
            }

            fn from_nullable_sql(bytes: Option<<$backend as Backend>::RawValue<'_>>) -> deserialize::Result<Self> {
                bytes.map_or_else(|| Ok(Self::default()), <Self as FromSql<Nullable<Text>, $backend>>::from_sql)
            }
        }
    )+};
}

default_is_null!(AudienceClaimFormat, ClaimMapping, ScopeClaimFormat, StatusSubject, TokenTypeHeader: (Sqlite, Pg, MultiBackend));

const _: () = {
    #[derive(FromSqlRow)]
    #[diesel(foreign_derive)]
    #[expect(dead_code, reason = "Diesel derives the implementations for the type of its field")]
    struct Column(ClaimMapping);
};

/// Reads domain types from one or several columns, through the type of their row.
macro_rules! read_from_columns {
    ($($type:ty: $sql:ty, $row:ty, $build:expr;)+) => {$(
        $crate::store::columns::queryable!(Sqlite, Pg, MultiBackend: $type: $sql, $row, $build);
    )+};
}

/// Reads one type of `read_from_columns`, in each backend.
macro_rules! queryable {
    ($backend:ty $(, $more:ty)*: $type:ty: $sql:ty, $row:ty, $build:expr) => {
        impl diesel::deserialize::Queryable<$sql, $backend> for $type {
            type Row = $row;

            fn build(row: $row) -> deserialize::Result<Self> {
                let build: fn($row) -> deserialize::Result<Self> = $build;
                build(row)
            }
        }
        $crate::store::columns::queryable!($($more),*: $type: $sql, $row, $build);
    };
    (: $type:ty: $sql:ty, $row:ty, $build:expr) => {};
}

pub(crate) use queryable;
pub(crate) use read_from_columns;

read_from_columns! {
    OwnerScope: (Nullable<Text>, Nullable<Text>, Nullable<Text>), (Option<UserId>, Option<OrganizationId>, Option<GenerationId>),
        |row| match row {
            (None, None, None) => Ok(Self::Account),
            (None, Some(id), Some(generation_id)) => Ok(Self::Organization { id, generation_id }),
            (Some(id), organization, Some(generation_id)) => Ok(Self::User { id, organization, generation_id }),
            (None, None, Some(_)) | (None, Some(_), None) | (Some(_), _, None) => Err("an owner without a generation id".into()),
        };
    OwnerScope: (Text, Nullable<Text>, Text), (UserId, Option<OrganizationId>, GenerationId),
        |(id, organization, generation_id)| Ok(Self::User { id, organization, generation_id });
    Owner: (Text, Nullable<Text>), (OwnerType, Option<String>), |row| match row {
        (OwnerType::User, Some(id)) => Ok(Self::User(id.parse()?)),
        (OwnerType::Organization, Some(id)) => Ok(Self::Organization(id.parse()?)),
        (OwnerType::ServiceClient, Some(id)) => Ok(Self::ServiceClient(id.parse()?)),
        (OwnerType::None, None) => Ok(Self::Unowned),
        (OwnerType::User | OwnerType::Organization | OwnerType::ServiceClient, None) | (OwnerType::None, Some(_)) => {
            Err("an owner without its id, or an id without its owner".into())
        }
    };
    Principal: (Text, Text, Text), (PrincipalType, String, String), |(kind, id, unique_id)| match kind {
        PrincipalType::User => Ok(Self::User(id.parse()?, unique_id.parse()?)),
        PrincipalType::ServiceClient => Ok(Self::ServiceClient(id.parse()?)),
        PrincipalType::ApiKey => Ok(Self::ApiKey(id.parse()?)),
    };
    AcceptedPermissions: (Nullable<Text>, Nullable<Text>), (Option<BuiltIn>, Option<PermissionSet>),
        |row| match row {
            (Some(BuiltIn::Management), _) => Ok(Self::Management),
            (Some(BuiltIn::Default) | None, None) => Ok(Self::Product),
            (Some(BuiltIn::Default) | None, Some(listed)) => Ok(Self::Only(listed)),
        };
    WebhookState: Nullable<Text>, Option<DisableReason>, |reason| Ok(reason.map_or(Self::Enabled, Self::Disabled));
    GrantablePermissions: Nullable<Text>, Option<PermissionSet>, |listed| Ok(listed.map_or(Self::WholeCatalog, Self::Only));
    StatusListIndex: (Text, Integer), (StatusListId, i32), |(list, index)| Ok(Self { list, index: index.try_into()? });
    Encrypted: (Binary, Integer), (Vec<u8>, i32), |(bytes, master_version)| Ok(Self { bytes, master_version });
}

pub(crate) fn parsed_metadata(column: &str) -> Result<Metadata, StoreError> {
    Metadata::parse(column).map_err(StoreError::invalid_data)
}

/// Parses a column. `what` names the column in the error message.
pub(crate) fn parsed<T: std::str::FromStr>(what: &str, column: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    column.parse().map_err(|error| StoreError::invalid_data(format!("{what}: {error}")))
}
