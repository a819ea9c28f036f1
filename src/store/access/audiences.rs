//! Audiences and their token profiles.

use std::collections::BTreeSet;

use diesel::{
    AsChangeset, ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper,
};

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn, Identifier},
            permission::PermissionName,
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenProfile, TokenTypeHeader},
        },
        common::{
            id::AudienceId,
            page::{Page, PageRequest},
            time::{Span, Timestamp},
        },
        signing::Algorithm,
    },
    store::{
        columns::{parsed, permission_set, span},
        error::StoreError,
        pool::Conn,
        schema::audiences,
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = audiences)]
pub(crate) struct AudienceRow {
    id: String,
    identifier: String,
    permissions: Option<String>,
    token_ttl: Option<i64>,
    built_in: Option<String>,
    created_at: i64,
    version: i64,
    algorithm: Option<String>,
    typ: Option<String>,
    scope_claim: Option<String>,
    aud_claim: Option<String>,
    claims: Option<String>,
    status: Option<String>,
}

/// The columns of a token profile. A default value is stored as NULL.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = audiences, treat_none_as_null = true)]
struct TokenProfileColumns {
    algorithm: Option<String>,
    typ: Option<String>,
    scope_claim: Option<String>,
    aud_claim: Option<String>,
    claims: Option<String>,
    status: Option<String>,
}

/// Returns `Conflict` if the identifier is in use.
pub fn insert(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    diesel::insert_into(audiences::table)
        .values((
            audiences::id.eq(audience.id.as_str()),
            audiences::identifier.eq(audience.identifier.as_str()),
            audiences::permissions.eq(permissions_column(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl.map(Span::millis)),
            audiences::built_in.eq(audience.built_in.map(BuiltIn::as_str)),
            audiences::created_at.eq(audience.created_at.millis()),
            audiences::version.eq(audience.version),
            token_profile_columns(&audience.token_profile)?,
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    diesel::update(audiences::table.find(audience.id.as_str()))
        .set((
            audiences::identifier.eq(audience.identifier.as_str()),
            audiences::permissions.eq(permissions_column(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl.map(Span::millis)),
            audiences::version.eq(audiences::version + 1),
            token_profile_columns(&audience.token_profile)?,
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, id: &AudienceId) -> Result<(), StoreError> {
    diesel::delete(audiences::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    let row: Option<AudienceRow> =
        audiences::table.find(id.as_str()).select(AudienceRow::as_select()).first(connection).optional()?;
    row.map(audience).transpose()
}

/// Like `find`, but locks the audience until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    diesel::update(audiences::table.find(id.as_str()))
        .set(audiences::version.eq(audiences::version))
        .execute(&mut **tx)?;
    find(tx, id)
}

pub fn find_built_in(connection: &mut Conn, kind: BuiltIn) -> Result<Option<Audience>, StoreError> {
    let row: Option<AudienceRow> = audiences::table
        .filter(audiences::built_in.eq(kind.as_str()))
        .select(AudienceRow::as_select())
        .first(connection)
        .optional()?;
    row.map(audience).transpose()
}

/// Returns the existing audiences among `identifiers`.
pub fn find_by_identifiers(
    connection: &mut Conn,
    identifiers: &BTreeSet<Identifier>,
) -> Result<Vec<Audience>, StoreError> {
    let wanted: Vec<_> = identifiers.iter().map(Identifier::as_str).collect();
    let rows: Vec<AudienceRow> = audiences::table
        .filter(audiences::identifier.eq_any(wanted))
        .select(AudienceRow::as_select())
        .load(connection)?;
    rows.into_iter().map(audience).collect()
}

pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Audience>, StoreError> {
    let mut query = audiences::table.select(AudienceRow::as_select()).into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(audiences::id.lt(after.clone()));
    }
    let rows: Vec<AudienceRow> = query.order(audiences::id.desc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(audience).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |audience| audience.id.to_string()))
}

/// Returns the signing algorithms that audiences require.
pub fn list_required_algorithms(connection: &mut Conn) -> Result<BTreeSet<Algorithm>, StoreError> {
    let asked: Vec<Option<String>> = audiences::table
        .filter(audiences::algorithm.is_not_null())
        .select(audiences::algorithm)
        .distinct()
        .load(connection)?;
    asked.iter().flatten().map(|algorithm| parsed("algorithm", algorithm)).collect()
}

/// Returns the identifiers of at most 10 audiences that list a permission.
pub fn find_identifiers_with_permission(
    connection: &mut Conn,
    permission: &PermissionName,
) -> Result<Vec<String>, StoreError> {
    let found = audiences::table
        .filter(crate::store::access::permissions::permissions_contain(permission))
        .select(audiences::identifier)
        .limit(10)
        .load(connection)?;
    Ok(found)
}

fn permissions_column(takes: &AcceptedPermissions) -> Option<String> {
    match takes {
        AcceptedPermissions::Product | AcceptedPermissions::Management => None,
        AcceptedPermissions::Listed(set) => Some(set.to_string()),
    }
}

fn token_profile_columns(token_profile: &TokenProfile) -> Result<TokenProfileColumns, StoreError> {
    let claims = (!token_profile.claims.is_empty()).then(|| token_profile.claims.to_json()).transpose();
    Ok(TokenProfileColumns {
        algorithm: token_profile.algorithm.map(|algorithm| algorithm.to_string()),
        typ: (token_profile.typ != TokenTypeHeader::default()).then(|| token_profile.typ.to_string()),
        scope_claim: (token_profile.scope_claim != ScopeClaimFormat::default())
            .then(|| token_profile.scope_claim.to_string()),
        aud_claim: (token_profile.aud_claim != AudienceClaimFormat::default())
            .then(|| token_profile.aud_claim.to_string()),
        claims: claims.map_err(|error| StoreError::InvalidData(error.to_string()))?,
        status: (token_profile.status != StatusSubject::default()).then(|| token_profile.status.to_string()),
    })
}

fn token_profile(row: &AudienceRow) -> Result<TokenProfile, StoreError> {
    fn column<T: std::str::FromStr<Err: std::fmt::Display>>(
        what: &str,
        column: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        column.map(|text| parsed(what, text)).transpose()
    }
    Ok(TokenProfile {
        algorithm: column("algorithm", row.algorithm.as_deref())?,
        typ: column("typ", row.typ.as_deref())?.unwrap_or_default(),
        scope_claim: column("scope claim", row.scope_claim.as_deref())?.unwrap_or_default(),
        aud_claim: column("aud claim", row.aud_claim.as_deref())?.unwrap_or_default(),
        claims: column("claims", row.claims.as_deref())?.unwrap_or_default(),
        status: column("status", row.status.as_deref())?.unwrap_or_default(),
    })
}

pub(crate) fn audience(row: AudienceRow) -> Result<Audience, StoreError> {
    let token_profile = token_profile(&row)?;
    let built_in = match row.built_in.as_deref() {
        None => None,
        Some("default") => Some(BuiltIn::Default),
        Some("management") => Some(BuiltIn::Management),
        Some(other) => return Err(StoreError::InvalidData(format!("built-in audience {other}"))),
    };
    let accepts = match (built_in, row.permissions) {
        (Some(BuiltIn::Management), _) => AcceptedPermissions::Management,
        (Some(BuiltIn::Default) | None, None) => AcceptedPermissions::Product,
        (Some(BuiltIn::Default) | None, Some(listed)) => AcceptedPermissions::Listed(permission_set(&listed)?),
    };
    Ok(Audience {
        id: parsed("audience id", &row.id)?,
        identifier: parsed("audience identifier", &row.identifier)?,
        accepts,
        token_ttl: span(row.token_ttl),
        token_profile,
        built_in,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}
