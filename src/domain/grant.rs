//! What a key may have: `decide` looks at the facts and the request and grants or refuses. Pure; explain, validation and the
//! management API ask the same function, so no two places can disagree.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    access::{self, Detail, Rule},
    api_key::{KeyLimits, Life, Owner, State},
    audience::{Audience, Identifier, Takes},
    claim_map::Sources,
    claims::{AudienceClaim, Claims, StatusClaim, Subject},
    id::{CredentialId, KeyId, OrganizationId},
    permission::{PermissionName, PermissionSet},
    resource::Resource,
    signing::Algorithm,
    standing::{OwnerSet, Ownership, Standing},
    status_list::Place,
    time::{Span, Timestamp},
    token_shape::{AudClaim, ScopeClaim, StatusOf, TokenShape},
};

/// The most targets one request may name: more serves no honest client.
pub const MAX_TARGETS: usize = 8;

/// Everything the rules need to know, as of one look-up.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The database's clock at that look-up.
    pub now: Timestamp,
    pub key: KeyFacts,
    /// Those of the audiences asked for that exist.
    pub audiences: Vec<Audience>,
    /// What mapped claims are taken from; empty unless one of the audiences maps some.
    pub sources: Sources,
}

/// What is known of the key that was presented.
#[derive(Debug, Clone)]
pub struct KeyFacts {
    pub id: KeyId,
    pub credential: CredentialId,
    pub credential_expires_at: Option<Timestamp>,
    /// When the rotation began that gave it its end.
    pub credential_replaced_at: Option<Timestamp>,
    pub ownership: Ownership,
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub life: Life,
    /// The statements of its access records.
    pub access: Vec<Rule>,
    /// Where the status of the credential's tokens stands.
    pub status: Option<Place>,
}

/// A credential that was replaced and still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    pub at: Timestamp,
    pub ends_at: Timestamp,
}

impl KeyFacts {
    pub fn limits(&self) -> KeyLimits {
        KeyLimits {
            expires_at: self.life.expires_at,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            audiences: self.audiences.clone(),
        }
    }

    /// What whoever presented the credential should know, where another has taken its place.
    pub fn replaced(&self) -> Option<Replaced> {
        let (at, ends_at) = self.credential_replaced_at.zip(self.credential_expires_at)?;
        Some(Replaced { at, ends_at })
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Absent: all of it.
    pub scope: Option<PermissionSet>,
    /// Empty: the default audience.
    pub targets: BTreeSet<Identifier>,
    /// Shorter than the limits, or without effect.
    pub expires_in: Option<Span>,
    /// The `client_id` that came with the key, where one did.
    pub client_id: Option<String>,
}

/// The deployment's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    pub issuer: String,
    pub default_audience: Identifier,
    pub default_ttl: Span,
    pub max_ttl: Span,
    /// Whether an organization's keys end when the member who made them leaves (`api_keys.end_with_creator`).
    pub ends_with_creator: bool,
    /// How tokens are signed whose audience does not say.
    pub algorithm: Algorithm,
}

/// What is granted. A binding (`cnf`) will stand here too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub key: KeyId,
    pub credential: CredentialId,
    pub subject: Subject,
    pub organization: Option<OrganizationId>,
    pub audience: AudienceClaim,
    pub scope: PermissionSet,
    /// Whole seconds since 1970.
    pub issued_at: i64,
    pub expires_at: i64,
    /// How the token is written.
    pub shape: TokenShape,
    /// What of the scope applies to which resources, where access records say so.
    pub access: Vec<Detail>,
    /// Claims from metadata, as the audience maps them.
    pub mapped: Map<String, Value>,
    /// Where its status stands: the credential's place, until the token is given one of its own.
    pub status: Option<Place>,
    /// Whether the audience wants one for each token.
    pub status_of: StatusOf,
}

impl Grant {
    pub fn expires_in(&self) -> i64 {
        self.expires_at - self.issued_at
    }

    /// The `client_id` claim: the service client, or the key itself.
    pub fn client_id(&self) -> &str {
        self.subject.client_id(&self.key)
    }

    pub fn into_claims(self, issuer: &str, jti: String) -> Claims {
        let (scope, scp) = match self.shape.scope_claim {
            _ if self.scope.is_empty() => (None, None),
            ScopeClaim::Scope => (Some(self.scope.to_string()), None),
            ScopeClaim::Scp => (None, Some(self.scope.iter().map(ToString::to_string).collect())),
        };
        Claims {
            iss: issuer.to_owned(),
            sub: self.subject.id().into_owned(),
            sub_type: self.subject.kind().to_owned(),
            exp: self.expires_at,
            iat: self.issued_at,
            jti,
            client_id: self.client_id().to_owned(),
            scope,
            scp,
            key_id: self.key,
            org_id: self.organization,
            aud: self.audience,
            authorization_details: self.access,
            status: self.status.as_ref().map(|place| StatusClaim::new(issuer, place)),
            mapped: self.mapped,
        }
    }
}

/// Why nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key itself: one answer for every fault.
    #[error("the key is not accepted: {0}")]
    Key(KeyFault),
    #[error("the scope is not granted")]
    Scope(ScopeFault),
    #[error("the target is not granted: {0}")]
    Target(TargetFault),
}

/// What is wrong with a key. For logs and metrics alone: clients see no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("malformed")]
    Malformed,
    #[error("unknown")]
    Unknown,
    #[error("wrong")]
    Wrong,
    #[error("revoked")]
    Revoked,
    #[error("expired")]
    Expired,
    #[error("suspended")]
    Suspended,
    #[error("owner blocked")]
    OwnerBlocked,
    #[error("owner gone")]
    OwnerGone,
    #[error("client mismatch")]
    ClientMismatch,
}

/// What is wrong with a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeFault {
    /// Outside the grammar, or no permission's name.
    Malformed,
    /// Some of what was asked for cannot be granted.
    Exceeds(Vec<Removed>),
    /// Nothing was asked for, and nothing is left.
    NothingLeft(Vec<Removed>),
}

/// What is wrong with an audience or resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    #[error("malformed")]
    Malformed,
    #[error("too many")]
    TooMany,
    #[error("unknown")]
    Unknown,
    #[error("not one of the key's")]
    NotAllowed,
    /// Several audiences whose tokens do not look alike: one token cannot serve them.
    #[error("of different shapes")]
    Shape,
    /// What the audience maps from metadata would not fit a token.
    #[error("mapped claims too large")]
    Claims,
    /// What access records say would not fit a token.
    #[error("authorization details too large")]
    Access,
}

impl TargetFault {
    /// What explain calls it. An audience that does not exist and one that the key may not be used for look the same.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Unknown | Self::NotAllowed => "unknown",
            Self::Shape => "shape",
            Self::Claims => "claims",
            Self::Access => "access",
        }
    }
}

/// A permission that is not granted, and the first rule that removed it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    pub permission: PermissionName,
    pub by: RemovedBy,
}

/// The three limits beside the request itself (design rule 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBy {
    Key,
    Owner,
    Audience,
}

/// A permission asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeReport {
    pub granted: PermissionSet,
    pub removed: Vec<Removed>,
    /// What of it applies to which resources, where access records say so.
    pub access: Vec<Detail>,
}

/// Whether the request is granted. The key must have been proved before: this function knows no secrets.
///
/// # Errors
/// The first reason not to: the key's state, then the client, then the target, then the scope.
pub fn decide(facts: &Facts, request: &Request, limits: &Limits) -> Result<Grant, Refusal> {
    let owner_set = alive(&facts.key, facts.now, limits).map_err(Refusal::Key)?;
    if !client_matches(&facts.key, request.client_id.as_deref()) {
        return Err(Refusal::Key(KeyFault::ClientMismatch));
    }
    let audiences = targets(facts, request, limits).map_err(Refusal::Target)?;
    let (shape, mapped) = shape(facts, &audiences, limits).map_err(Refusal::Target)?;
    let report =
        report(&facts.key, &owner_set, &audiences, request.scope.as_ref(), &mapped).map_err(Refusal::Target)?;
    if request.scope.is_some() && !report.removed.is_empty() {
        return Err(Refusal::Scope(ScopeFault::Exceeds(report.removed)));
    }
    if report.granted.is_empty() && !(facts.key.permissions.is_empty() && request.scope.is_none()) {
        return Err(Refusal::Scope(ScopeFault::NothingLeft(report.removed)));
    }

    let issued_at = facts.now.seconds();
    let expires_at = end_of_token(facts, &audiences, request.expires_in, limits);
    if expires_at <= issued_at {
        // Less than a second of the key's life is left: too short for a token in whole seconds.
        return Err(Refusal::Key(KeyFault::Expired));
    }
    Ok(Grant {
        key: facts.key.id.clone(),
        credential: facts.key.credential,
        subject: subject(&facts.key),
        organization: facts.key.ownership.home.organization().cloned(),
        audience: audience_claim(&audiences, shape.aud_claim),
        scope: report.granted,
        access: report.access,
        issued_at,
        expires_at,
        shape,
        mapped,
        status: facts.key.status.clone(),
        status_of: status_of(&audiences),
    })
}

/// One that wants a status for each token is enough: such a token falls with its credential as well.
fn status_of(audiences: &[&Audience]) -> StatusOf {
    let wants = |audience: &&Audience| audience.shape.status == StatusOf::Token;
    if audiences.iter().any(wants) { StatusOf::Token } else { StatusOf::Credential }
}

/// What would be granted of each permission asked for, and which rule removed the others: the same rules as `decide`, told in
/// full.
///
/// # Errors
/// The key or the target is refused; then there is no scope to speak of.
pub fn explain(facts: &Facts, request: &Request, limits: &Limits) -> Result<ScopeReport, Refusal> {
    let owner_set = alive(&facts.key, facts.now, limits).map_err(Refusal::Key)?;
    let audiences = targets(facts, request, limits).map_err(Refusal::Target)?;
    let (_, mapped) = shape(facts, &audiences, limits).map_err(Refusal::Target)?;
    report(&facts.key, &owner_set, &audiences, request.scope.as_ref(), &mapped).map_err(Refusal::Target)
}

/// The audiences a request is for: those it names, or the default.
pub fn targets_asked<'a>(request: &'a Request, limits: &'a Limits) -> Vec<&'a Identifier> {
    if request.targets.is_empty() { vec![&limits.default_audience] } else { request.targets.iter().collect() }
}

/// What the holder of a key may hand on: its permissions, as far as its owner still has them.
pub fn holdings(key: &KeyFacts, limits: &Limits) -> PermissionSet {
    match key.ownership.standing(limits.ends_with_creator) {
        Standing::Good(set) => set.of(&key.permissions),
        Standing::Blocked | Standing::Gone(_) => PermissionSet::default(),
    }
}

/// Whether a key is in force, and what its owner can do then.
///
/// # Errors
/// What is wrong with it.
pub fn alive(key: &KeyFacts, now: Timestamp, limits: &Limits) -> Result<OwnerSet, KeyFault> {
    match key.life.state(now) {
        State::Revoked => return Err(KeyFault::Revoked),
        State::Expired => return Err(KeyFault::Expired),
        State::Suspended => return Err(KeyFault::Suspended),
        State::Active => {}
    }
    if key.credential_expires_at.is_some_and(|end| end <= now) {
        return Err(KeyFault::Expired);
    }
    match key.ownership.standing(limits.ends_with_creator) {
        Standing::Good(set) => Ok(set),
        Standing::Blocked => Err(KeyFault::OwnerBlocked),
        Standing::Gone(_) => Err(KeyFault::OwnerGone),
    }
}

/// `client_id` may be the key's id, its service client's, or `<prefix>_<id>` of the credential; the last is the masked form
/// without its ellipsis, and the credential's id alone decides.
fn client_matches(key: &KeyFacts, client_id: Option<&str>) -> bool {
    let Some(client_id) = client_id else { return true };
    let owner = match &key.ownership.owner {
        Owner::ServiceClient(id) => Some(id.as_str()),
        Owner::User(_) | Owner::Organization(_) | Owner::Nobody => None,
    };
    client_id == key.id.as_str()
        || owner == Some(client_id)
        || client_id.rsplit_once('_').is_some_and(|(prefix, id)| !prefix.is_empty() && id == key.credential.as_str())
}

fn targets<'a>(facts: &'a Facts, request: &'a Request, limits: &'a Limits) -> Result<Vec<&'a Audience>, TargetFault> {
    let asked = targets_asked(request, limits);
    if asked.len() > MAX_TARGETS {
        return Err(TargetFault::TooMany);
    }
    asked
        .into_iter()
        .map(|identifier| {
            if facts.key.audiences.as_ref().is_some_and(|allowed| !allowed.contains(identifier)) {
                return Err(TargetFault::NotAllowed);
            }
            facts.audiences.iter().find(|audience| audience.identifier == *identifier).ok_or(TargetFault::Unknown)
        })
        .collect()
}

/// The one shape of all the audiences, and its claims from metadata.
fn shape(
    facts: &Facts,
    audiences: &[&Audience],
    limits: &Limits,
) -> Result<(TokenShape, Map<String, Value>), TargetFault> {
    let Some((first, others)) = audiences.split_first() else { return Err(TargetFault::Unknown) };
    if !others.iter().all(|other| first.shape.agrees_with(&other.shape, limits.algorithm)) {
        return Err(TargetFault::Shape);
    }
    let mapped = first.shape.claims.collect(&facts.sources).map_err(|_| TargetFault::Claims)?;
    Ok((first.shape.clone(), mapped))
}

fn report(
    key: &KeyFacts,
    owner: &OwnerSet,
    audiences: &[&Audience],
    requested: Option<&PermissionSet>,
    mapped: &Map<String, Value>,
) -> Result<ScopeReport, TargetFault> {
    let rule = |name: &PermissionName| {
        if !key.permissions.contains(name) {
            Some(RemovedBy::Key)
        } else if !owner.holds(name) {
            Some(RemovedBy::Owner)
        } else if !audiences.iter().all(|audience| audience.takes.takes(name)) {
            Some(RemovedBy::Audience)
        } else {
            None
        }
    };
    let mut removed = Vec::new();
    let granted = requested
        .unwrap_or(&key.permissions)
        .iter()
        .filter(|name| match rule(name) {
            Some(by) => {
                removed.push(Removed { permission: (*name).clone(), by });
                false
            }
            None => true,
        })
        .cloned()
        .collect();
    let access = access_report(key, audiences, &granted, mapped)?;
    Ok(ScopeReport { granted, removed, access })
}

/// What the key's access records say of the scope. Nothing is left out that does not fit: a service would take what is missing for what is
/// not allowed, and nobody would learn of it.
fn access_report(
    key: &KeyFacts,
    audiences: &[&Audience],
    scope: &PermissionSet,
    mapped: &Map<String, Value>,
) -> Result<Vec<Detail>, TargetFault> {
    // Keyswap's own resources are none of the product's.
    if key.access.is_empty() || audiences.iter().any(|audience| audience.takes == Takes::Management) {
        return Ok(Vec::new());
    }
    let details = access::details(&key.access, scope);
    let with_mapped = if mapped.is_empty() { 0 } else { length(mapped) };
    if details.is_empty() || length(&details).saturating_add(with_mapped) <= access::MAX_BYTES {
        Ok(details)
    } else {
        Err(TargetFault::Access)
    }
}

/// As JSON; what cannot be written fits nowhere.
fn length(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

/// Whether a key may do a thing to a resource now: it is in force, the permission is in its effective set, and a statement of its access
/// records covers the resource.
pub fn may(key: &KeyFacts, now: Timestamp, limits: &Limits, permission: &PermissionName, on: &Resource) -> bool {
    alive(key, now, limits).is_ok_and(|owner| {
        key.permissions.contains(permission)
            && owner.holds(permission)
            && key.access.iter().any(|rule| rule.covers(permission, on))
    })
}

/// Whole seconds since 1970. Every limit can only shorten: the audiences', the key's, the request's, and the ends of the key
/// and its credential.
fn end_of_token(facts: &Facts, audiences: &[&Audience], asked: Option<Span>, limits: &Limits) -> i64 {
    let of_audiences = audiences.iter().map(|audience| audience.token_ttl.unwrap_or(limits.default_ttl));
    let ttl = of_audiences
        .chain([limits.max_ttl])
        .chain(facts.key.max_token_ttl)
        .chain(asked)
        .min()
        .unwrap_or(limits.default_ttl);
    let issued_at = facts.now.seconds();
    let end = issued_at.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    let ends = [facts.key.life.expires_at, facts.key.credential_expires_at];
    ends.into_iter().flatten().map(Timestamp::seconds).fold(end, i64::min)
}

/// Who a key speaks for.
pub fn subject(key: &KeyFacts) -> Subject {
    match &key.ownership.owner {
        Owner::User(id) => Subject::User(id.clone()),
        Owner::Organization(id) => Subject::Organization(id.clone()),
        Owner::ServiceClient(id) => Subject::ServiceClient(id.clone()),
        Owner::Nobody => Subject::ApiKey(key.id.clone()),
    }
}

fn audience_claim(audiences: &[&Audience], form: AudClaim) -> AudienceClaim {
    match audiences {
        [one] if form == AudClaim::Text => AudienceClaim::One(one.identifier.clone()),
        several => AudienceClaim::Several(several.iter().map(|audience| audience.identifier.clone()).collect()),
    }
}
