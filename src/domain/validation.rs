//! Validation: whether a key or a token is in force now, and which permissions it lacks. Pure, and by the rules of the exchange.

use std::collections::BTreeSet;

use super::{
    api_key::OwnerType,
    audience::Identifier,
    grant::{self, Facts, Limits, Refusal, TargetFault},
    id::{OrganizationId, UserId},
    json::Metadata,
    name::DisplayName,
    permission::PermissionSet,
};

/// What a service wants to know of a key or a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// What the request at hand takes.
    pub required: PermissionSet,
    /// The one kind of owner whose keys are taken there.
    pub owner_type: Option<OwnerType>,
    /// The service that asks, where it says which it is.
    pub audience: Option<Identifier>,
}

/// What bounds whatever was shown: nothing but the question for a key, and for a token what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The permissions a token carries; absent for a key.
    pub scope: Option<PermissionSet>,
    /// For which audiences it counts. None are asked about for a key that is shown to nobody in particular.
    pub audiences: BTreeSet<Identifier>,
}

/// The permissions that are required and not in effect: what stands on the key, cut to what its owner can do now, to the token's
/// scope, and to what the audiences take.
///
/// # Errors
/// The key is not in force, not for these audiences, or of another kind of owner.
pub fn missing(facts: &Facts, question: &Question, bounds: &Bounds, limits: &Limits) -> Result<PermissionSet, Refusal> {
    let key = &facts.key;
    let owner = grant::alive(key, facts.now, limits).map_err(Refusal::Key)?;
    let kind = key.ownership.owner.kind();
    if question.owner_type.is_some_and(|wanted| wanted != kind) {
        return Err(Refusal::Target(TargetFault::NotAllowed));
    }
    let mut audiences = Vec::with_capacity(bounds.audiences.len());
    for identifier in &bounds.audiences {
        if key.audiences.as_ref().is_some_and(|allowed| !allowed.contains(identifier)) {
            return Err(Refusal::Target(TargetFault::NotAllowed));
        }
        let found = facts.audiences.iter().find(|audience| audience.identifier == *identifier);
        audiences.push(found.ok_or(Refusal::Target(TargetFault::Unknown))?);
    }
    let is_missing = |name: &&_| {
        !key.permissions.contains(name)
            || !owner.holds(name)
            || bounds.scope.as_ref().is_some_and(|scope| !scope.contains(name))
            || !audiences.iter().all(|audience| audience.takes.takes(name))
    };
    Ok(question.required.iter().filter(is_missing).cloned().collect())
}

/// Those who stand behind a key, as the product wrote them down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    pub user: Option<UserBehind>,
    pub organization: Option<OrganizationBehind>,
}

/// The user behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserBehind {
    pub id: UserId,
    pub blocked: bool,
    pub profile: Metadata,
    pub metadata: Metadata,
}

/// The organization behind a key, or within which its user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationBehind {
    pub id: OrganizationId,
    pub name: Option<DisplayName>,
    pub metadata: Metadata,
}
