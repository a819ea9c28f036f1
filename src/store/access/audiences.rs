//! Audiences and their token profiles.

use std::collections::BTreeSet;

use diesel::{AsChangeset, ExpressionMethods, Insertable, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper};

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn, Identifier},
            claim_map::ClaimMapping,
            permission::{PermissionName, PermissionSet},
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenProfile, TokenTypeHeader},
        },
        common::{
            id::AudienceId,
            page::{Page, PageRequest},
        },
        signing::Algorithm,
    },
    store::{
        column_types::Json,
        error::StoreError,
        pool::Conn,
        rows::{load_page, lock_row, selectable},
        schema::audiences,
        transaction::Tx,
    },
};

selectable!(every_backend: audiences => Audience {
    id, identifier, accepts = (built_in, permissions), token_ttl, token_profile: TokenProfile, built_in, created_at,
    version,
});

selectable!(every_backend: audiences => TokenProfile { algorithm, typ, scope_claim, aud_claim, claims, status });

/// The columns of a token profile. A default value is stored as NULL.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = audiences, treat_none_as_null = true)]
struct TokenProfileColumns<'a> {
    algorithm: Option<Algorithm>,
    typ: Option<&'a TokenTypeHeader>,
    scope_claim: Option<ScopeClaimFormat>,
    aud_claim: Option<AudienceClaimFormat>,
    claims: Option<Json<ClaimMapping>>,
    status: Option<StatusSubject>,
}

/// Returns `Conflict` if the identifier is in use.
pub fn insert(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    diesel::insert_into(audiences::table)
        .values((
            audiences::id.eq(&audience.id),
            audiences::identifier.eq(&audience.identifier),
            audiences::permissions.eq(listed_permissions(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl),
            audiences::built_in.eq(audience.built_in),
            audiences::created_at.eq(audience.created_at),
            audiences::version.eq(audience.version),
            token_profile_columns(&audience.token_profile),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    diesel::update(audiences::table.find(&audience.id))
        .set((
            audiences::identifier.eq(&audience.identifier),
            audiences::permissions.eq(listed_permissions(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl),
            audiences::version.eq(audiences::version + 1),
            token_profile_columns(&audience.token_profile),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, id: &AudienceId) -> Result<(), StoreError> {
    diesel::delete(audiences::table.find(id)).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    Ok(audiences::table.find(id).select(Audience::as_select()).first(connection).optional()?)
}

/// Like `find`, but locks the audience until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    lock_row!(tx, audiences, id);
    find(tx, id)
}

pub fn find_built_in(connection: &mut Conn, kind: BuiltIn) -> Result<Option<Audience>, StoreError> {
    Ok(audiences::table
        .filter(audiences::built_in.eq(kind))
        .select(Audience::as_select())
        .first(connection)
        .optional()?)
}

/// Returns the existing audiences among `identifiers`.
pub fn find_by_identifiers(
    connection: &mut Conn,
    identifiers: &BTreeSet<Identifier>,
) -> Result<Vec<Audience>, StoreError> {
    Ok(audiences::table
        .filter(audiences::identifier.eq_any(identifiers))
        .select(Audience::as_select())
        .load(connection)?)
}

pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Audience>, StoreError> {
    let query = audiences::table.select(Audience::as_select()).into_boxed();
    load_page!(connection, query, page, audiences::id, lt, desc, |audience: &Audience| audience.id.to_string())
}

/// Returns the signing algorithms that audiences require.
pub fn list_required_algorithms(connection: &mut Conn) -> Result<BTreeSet<Algorithm>, StoreError> {
    let required: Vec<Option<Algorithm>> = audiences::table
        .filter(audiences::algorithm.is_not_null())
        .select(audiences::algorithm)
        .distinct()
        .load(connection)?;
    Ok(required.into_iter().flatten().collect())
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

fn listed_permissions(accepted: &AcceptedPermissions) -> Option<&PermissionSet> {
    match accepted {
        AcceptedPermissions::Product | AcceptedPermissions::Management => None,
        AcceptedPermissions::Only(set) => Some(set),
    }
}

fn token_profile_columns(profile: &TokenProfile) -> TokenProfileColumns<'_> {
    TokenProfileColumns {
        algorithm: profile.algorithm,
        typ: Some(&profile.typ).filter(|typ| **typ != TokenTypeHeader::default()),
        scope_claim: Some(profile.scope_claim).filter(|format| *format != ScopeClaimFormat::default()),
        aud_claim: Some(profile.aud_claim).filter(|format| *format != AudienceClaimFormat::default()),
        claims: Some(&profile.claims).filter(|claims| !claims.is_empty()).cloned().map(Json),
        status: Some(profile.status).filter(|status| *status != StatusSubject::default()),
    }
}
