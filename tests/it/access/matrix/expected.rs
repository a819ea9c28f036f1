//! The status that a caller must get. It follows from the rule of the operation, the permissions of
//! the caller, and the owner of the object.

use super::{
    callers::{ACCOUNT, Caller, Credential, Owner},
    operations::{Kind, Operation, Right, Rule},
};

const MANAGE: &str = "api-keys:manage";
const MANAGE_SELF: &str = "user-api-keys:manage-self";
const MANAGE_ALL: &str = "user-api-keys:manage-all";

/// The status of the answer to `caller` for an operation on the object of `target`.
pub fn status(operation: &Operation, caller: &Caller, target: Owner) -> u16 {
    if operation.speaks_oauth() && caller.on_behalf_of.is_some() {
        return 400;
    }
    let is_session = matches!(caller.credential, Credential::Session(_));
    match operation.rule {
        Rule::Anyone => 200,
        Rule::AnyKey => {
            if matches!(caller.credential, Credential::Key(_)) {
                200
            } else {
                401
            }
        }
        Rule::AnyClient if is_session => 401,
        Rule::AnyClient => caller.refusal.unwrap_or(200),
        Rule::Action(..) if operation.speaks_oauth() && is_session => 401,
        Rule::Action(..) | Rule::Object(..) if caller.refusal.is_some() => caller.refusal.unwrap(),
        Rule::Action(..) | Rule::Object(..) if !caller.holds(operation.permissions().unwrap()) => 403,
        // The operation is about the calling user.
        Rule::Action(_, _) if operation.template.ends_with("/current") && caller.owner.user.is_none() => 400,
        Rule::Action(_, status) => status,
        Rule::Object(kind, right) => object_status(kind, right, caller, target),
    }
}

fn object_status(kind: Kind, right: Right, caller: &Caller, target: Owner) -> u16 {
    let rights = rights(kind, caller, target);
    let is_record_by_key = kind == Kind::AccessRecord && is_key_of_tenant(caller);
    match right {
        Right::List => 200,
        Right::Create if kind == Kind::AccessRecord => record_creation_status(caller, target),
        // The body names the owner: one for whom the caller may not create is answered like one
        // that does not exist.
        Right::Create => {
            if rights.change {
                201
            } else {
                422
            }
        }
        Right::Read | Right::Change | Right::End if !rights.read => 404,
        Right::Read => 200,
        Right::Change | Right::End if is_record_by_key => 403,
        Right::Change => {
            if rights.change {
                412
            } else {
                403
            }
        }
        Right::End => 412,
    }
}

/// A key of a user or an organization may not define its own access.
fn is_key_of_tenant(caller: &Caller) -> bool {
    caller.is_tenant() && caller.on_behalf_of.is_none() && !matches!(caller.credential, Credential::Session(_))
}

fn record_creation_status(caller: &Caller, target: Owner) -> u16 {
    let has = |permission: &str| caller.permissions.contains(&permission);
    if !caller.is_tenant() {
        201
    } else if target.organization != caller.owner.organization {
        422
    } else if is_key_of_tenant(caller) {
        403
    } else if has(MANAGE) {
        201
    } else if !has(MANAGE_SELF) {
        403
    } else if target == caller.owner {
        201
    } else {
        422
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub read: bool,
    change: bool,
}

/// What the caller may do with an object of `target`. A caller that may read it may also end it.
pub fn rights(kind: Kind, caller: &Caller, target: Owner) -> Rights {
    let has = |permission: &str| caller.permissions.contains(&permission);
    let none = Rights { read: false, change: false };
    let all = Rights { read: true, change: true };
    if !caller.is_tenant() {
        return if caller.holds(&["keyswap:keys"]) { all } else { none };
    }
    let (is_organizations, is_own) = (target.user.is_none(), target == caller.owner);
    let is_inside = target.organization.is_some() && target.organization == caller.owner.organization;
    if target == ACCOUNT || !is_inside && !is_own {
        return none;
    }
    let may_change = match kind {
        // Users are admins of their own records.
        Kind::AccessRecord => is_inside && has(MANAGE) || is_own && !is_organizations,
        Kind::ApiKey | Kind::ServiceClient if is_organizations => has(MANAGE),
        Kind::ApiKey | Kind::ServiceClient => is_own && has(MANAGE_SELF),
    };
    let may_read = kind != Kind::AccessRecord && is_inside && has(MANAGE_ALL);
    if may_change { all } else { Rights { read: may_read, change: false } }
}
