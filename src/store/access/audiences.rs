//! Audiences and their token profiles.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{
            audience::{AcceptedPermissions, Audience, BuiltIn, Identifier},
            claim_map::ClaimMapping,
            permission::{PermissionName, PermissionSet},
            token_profile::{AudienceClaimFormat, ScopeClaimFormat, StatusSubject, TokenProfile, TokenTypeHeader},
        },
        common::{
            encryption::Encrypted,
            id::AudienceId,
            page::{Page, PageRequest},
        },
        signing::Algorithm,
    },
    store::{
        column_types::{Flag, Json},
        prelude::*,
        row_encryption::AuthenticatedRow,
        row_versions,
        schema::audiences,
    },
};

selectable!(every_backend: audiences => Audience {
    id, identifier, accepts = (built_in, permissions), token_ttl, token_profile: TokenProfile, record_bound as Flag,
    built_in, created_at, version,
});

/// An audience, with the tag that authenticates it.
#[derive(Debug)]
pub struct AuthenticatedAudience {
    pub audience: Audience,
    pub tag: Encrypted,
}

selectable!(every_backend: audiences => AuthenticatedAudience { audience: Audience, tag = (tag, master_version) });

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

/// Returns `Conflict` if the identifier, or one that looks like it, is in use.
pub fn insert(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    tx.versions.insert(subject(&audience.id), audience.version);
    let tag = tx.encrypt(&audience.encode(), &[])?;
    diesel::insert_into(audiences::table)
        .values((
            audiences::id.eq(&audience.id),
            audiences::identifier.eq(&audience.identifier),
            audiences::normalized_identifier.eq(audience.identifier.normalized()),
            audiences::permissions.eq(listed_permissions(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl),
            audiences::record_bound.eq(Flag(audience.record_bound)),
            audiences::built_in.eq(audience.built_in),
            (audiences::tag.eq(tag.bytes), audiences::master_version.eq(tag.master_version)),
            audiences::created_at.eq(audience.created_at),
            audiences::version.eq(audience.version),
            token_profile_columns(&audience.token_profile),
        ))
        .execute_in(tx)
}

/// Writes back an audience that was read by `find_for_change`, modified, and given the next
/// version.
pub fn update(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    tx.versions.insert(subject(&audience.id), audience.version);
    let tag = tx.encrypt(&audience.encode(), &[])?;
    diesel::update(audiences::table.find(&audience.id))
        .set((
            audiences::identifier.eq(&audience.identifier),
            audiences::normalized_identifier.eq(audience.identifier.normalized()),
            audiences::permissions.eq(listed_permissions(&audience.accepts)),
            audiences::token_ttl.eq(audience.token_ttl),
            audiences::record_bound.eq(Flag(audience.record_bound)),
            audiences::version.eq(audience.version),
            (audiences::tag.eq(tag.bytes), audiences::master_version.eq(tag.master_version)),
            token_profile_columns(&audience.token_profile),
        ))
        .execute_in(tx)
}

pub fn delete(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    tx.versions.insert(subject(&audience.id), audience.version + 1);
    diesel::delete(audiences::table.find(&audience.id)).execute_in(tx)
}

/// Returns the subject of the events of an audience.
fn subject(id: &AudienceId) -> String {
    format!("audience:{id}")
}

pub fn find(connection: &mut Conn, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    audiences::table.find(id).select(Audience::as_select()).load_first(connection)
}

pub fn find_authenticated(connection: &mut Conn, id: &AudienceId) -> Result<Option<AuthenticatedAudience>, StoreError> {
    audiences::table.find(id).select(AuthenticatedAudience::as_select()).load_first(connection)
}

/// Like `find`, but locks the audience until the end of the change. Returns `StoreError::Altered`
/// if it was altered outside of Keyswap, and `StoreError::OlderVersion` if an older row was put
/// back.
pub fn find_for_change(tx: &mut Tx<'_>, id: &AudienceId) -> Result<Option<Audience>, StoreError> {
    lock_row!(tx, audiences, id);
    let Some(AuthenticatedAudience { audience, tag }) = find_authenticated(tx, id)? else { return Ok(None) };
    tx.decrypt(&audience.encode(), &tag, "audiences", id.as_str())?;
    row_versions::require_newest_version(tx, "audiences", id.as_str(), subject(id), audience.version)?;
    Ok(Some(audience))
}

pub fn find_built_in(connection: &mut Conn, kind: BuiltIn) -> Result<Option<Audience>, StoreError> {
    audiences::table.filter(audiences::built_in.eq(kind)).select(Audience::as_select()).load_first(connection)
}

/// Returns the existing audiences among `identifiers`.
pub fn find_by_identifiers(
    connection: &mut Conn,
    identifiers: &BTreeSet<Identifier>,
) -> Result<Vec<Audience>, StoreError> {
    audiences::table
        .filter(audiences::identifier.eq_any(identifiers))
        .select(Audience::as_select())
        .load_all(connection)
}

/// Returns the audiences whose identifiers are easily confused with one of `identifiers`, or equal.
pub fn find_similar(connection: &mut Conn, identifiers: &BTreeSet<Identifier>) -> Result<Vec<Audience>, StoreError> {
    audiences::table
        .filter(audiences::normalized_identifier.eq_any(identifiers.iter().map(Identifier::normalized)))
        .select(Audience::as_select())
        .load_all(connection)
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
        .load_all(connection)?;
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
        .load_all(connection)?;
    Ok(found)
}

/// Returns audiences with these ids, to be checked.
pub fn find_to_check(connection: &mut Conn, ids: &[String]) -> Result<Vec<AuthenticatedRow>, StoreError> {
    let found: Vec<AuthenticatedAudience> = audiences::table
        .filter(audiences::id.eq_any(ids))
        .select(AuthenticatedAudience::as_select())
        .load_all(connection)?;
    let to_check = |AuthenticatedAudience { audience, tag }: AuthenticatedAudience| AuthenticatedRow {
        id: audience.id.to_string(),
        encoded: audience.encode(),
        encrypted: tag,
        subject: subject(&audience.id),
        version: audience.version,
    };
    Ok(found.into_iter().map(to_check).collect())
}

/// Makes an audience authentic as it is, with the version of `audience`.
pub fn accept(tx: &mut Tx<'_>, audience: &Audience) -> Result<(), StoreError> {
    let tag = tx.encrypt(&audience.encode(), &[])?;
    let tag = (audiences::tag.eq(tag.bytes), audiences::master_version.eq(tag.master_version));
    diesel::update(audiences::table.find(&audience.id))
        .set((audiences::version.eq(audience.version), tag))
        .execute_in(tx)
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
