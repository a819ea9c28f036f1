//! Authorization of exchanges: `decide` evaluates facts and a request, and grants or refuses. All
//! functions are pure. Explain, validation and the management API apply the same rules, so that
//! their answers cannot contradict each other.

use serde_json::{Map, Value};

use crate::domain::{
    access::{
        access_record::{self, Detail},
        audience::{Audience, Identifier, Takes},
        owner::Owner,
        owner_status::{OwnerSet, Standing},
        permission::{PermissionName, PermissionSet},
        resource::Resource,
        token_profile::{AudClaim, ScopeClaim, StatusOf, TokenShape},
    },
    common::{
        derived_id::CredentialId,
        id::{KeyId, OrganizationId},
        time::{Span, Timestamp},
    },
    credentials::{api_key::State, error::KeyFault},
    exchange::{
        claims::{AudienceClaim, Claims, StatusClaim, Subject},
        facts::{Facts, KeyFacts, Limits, Request},
        refusal::{Refusal, Removed, RemovedBy, ScopeFault, ScopeReport, TargetFault},
    },
    status_lists::Place,
};

/// Maximum number of targets in one request. Legitimate clients need no more.
pub const MAX_TARGETS: usize = 8;

/// Content of the token to sign. A confirmation claim (`cnf`, RFC 7800) is not supported yet and
/// belongs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub key: KeyId,
    pub credential: CredentialId,
    pub subject: Subject,
    pub organization: Option<OrganizationId>,
    pub audience: AudienceClaim,
    pub scope: PermissionSet,
    /// Seconds since 1970-01-01T00:00:00Z, as is `expires_at`.
    pub issued_at: i64,
    pub expires_at: i64,
    /// Profile of the token.
    pub shape: TokenShape,
    /// The `authorization_details` of the token: which permissions of the scope apply to which
    /// resources, according to the access records.
    pub access: Vec<Detail>,
    /// Claims from metadata, as mapped by the audience.
    pub mapped: Map<String, Value>,
    /// Status list index of the token: that of the credential, until the token is assigned its own.
    pub status: Option<Place>,
    /// `StatusOf::Token` if an audience requires a status list index for each token.
    pub status_of: StatusOf,
}

impl Grant {
    pub fn expires_in(&self) -> i64 {
        self.expires_at - self.issued_at
    }

    /// Returns the `client_id` claim: the id of the service client, or of the key for other
    /// subjects.
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

/// Decides an exchange. The caller must have verified the secret of the key: this function has no
/// access to secrets.
///
/// If several checks fail, the first one in this order is returned: state of the key, `client_id`,
/// target, scope, and a token that would expire in the second in which it is issued.
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
        // The token would expire in the second in which it is issued: token times are whole
        // seconds.
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

/// Returns `StatusOf::Token` if one audience requires it: a token with its own status also becomes
/// invalid with its credential, as the other audiences expect.
fn status_of(audiences: &[&Audience]) -> StatusOf {
    let wants = |audience: &&Audience| audience.shape.status == StatusOf::Token;
    if audiences.iter().any(wants) { StatusOf::Token } else { StatusOf::Credential }
}

/// Evaluates the requested scope by the rules of `decide`, without the check of `client_id`, and
/// reports every permission with the rule that removed it. Fails only if the key or the target is
/// refused: there is no scope to report then.
pub fn explain(facts: &Facts, request: &Request, limits: &Limits) -> Result<ScopeReport, Refusal> {
    let owner_set = alive(&facts.key, facts.now, limits).map_err(Refusal::Key)?;
    let audiences = targets(facts, request, limits).map_err(Refusal::Target)?;
    let (_, mapped) = shape(facts, &audiences, limits).map_err(Refusal::Target)?;
    report(&facts.key, &owner_set, &audiences, request.scope.as_ref(), &mapped).map_err(Refusal::Target)
}

/// Returns the audiences that a request names, or the default audience if it names none.
pub fn targets_asked<'a>(request: &'a Request, limits: &'a Limits) -> Vec<&'a Identifier> {
    if request.targets.is_empty() { vec![&limits.default_audience] } else { request.targets.iter().collect() }
}

/// Returns the permissions that the holder of a key may grant: those of the key that its owner
/// still has.
pub fn holdings(key: &KeyFacts, limits: &Limits) -> PermissionSet {
    match key.ownership.standing(limits.ends_with_creator) {
        Standing::Good(set) => set.of(&key.permissions),
        Standing::Blocked | Standing::Gone(_) => PermissionSet::default(),
    }
}

/// Checks that a key is in force, and returns the permissions of its owner.
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

/// Accepts as `client_id` the id of the key, the id of its service client, or `<prefix>_<id>` of
/// the credential. The last form is the masked key without the ellipsis. Only its id is compared,
/// not its prefix.
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

/// Returns the common token profile of the audiences, and the mapped claims.
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

/// Returns the `authorization_details` for the scope. If they are too large, the exchange is
/// refused and nothing is omitted: a service would read an omitted entry as a denial, and the
/// omission would go unnoticed.
fn access_report(
    key: &KeyFacts,
    audiences: &[&Audience],
    scope: &PermissionSet,
    mapped: &Map<String, Value>,
) -> Result<Vec<Detail>, TargetFault> {
    // Access records describe resources of the product, and none of Keyswap itself.
    if key.access.is_empty() || audiences.iter().any(|audience| audience.takes == Takes::Management) {
        return Ok(Vec::new());
    }
    let details = access_record::details(&key.access, scope);
    let with_mapped = if mapped.is_empty() { 0 } else { length(mapped) };
    if details.is_empty() || length(&details).saturating_add(with_mapped) <= access_record::MAX_BYTES {
        Ok(details)
    } else {
        Err(TargetFault::Access)
    }
}

/// Returns the length as JSON. A value that cannot be serialized exceeds every limit.
fn length(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

/// Returns whether a key currently permits an action on a resource: the key is in force, the
/// permission is effective, and a statement of its access records covers the resource.
pub fn may(key: &KeyFacts, now: Timestamp, limits: &Limits, permission: &PermissionName, on: &Resource) -> bool {
    alive(key, now, limits).is_ok_and(|owner| {
        key.permissions.contains(permission)
            && owner.holds(permission)
            && key.access.iter().any(|rule| rule.covers(permission, on))
    })
}

/// Returns the expiration time of the token in seconds since 1970-01-01T00:00:00Z. Every limit can
/// only shorten it: those of the audiences, the deployment, the key and the request, and the
/// expiration times of the key and of its credential.
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

/// Returns the subject of the tokens that are issued from a key.
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
