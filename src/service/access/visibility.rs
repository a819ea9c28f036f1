//! What a caller may see, change and end: one rule for API keys, service clients and access
//! records. Every operation on one object and every list goes through it.

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, RecordVisibility},
            permission::MANAGE,
            policy::{ObjectRight, ObjectRights, TenantScope, required_management_permission},
        },
        credentials::api_key::ApiKey,
        directory::service_client::ServiceClient,
    },
    service::{Error, access::owners, caller::Caller},
    store::{Conn, StoreError},
};

/// An object that belongs to an owner.
pub(crate) trait OwnedObject {
    /// The name of its kind, for `Error::NotFound`.
    const KIND: &'static str;

    fn rights(&self, connection: &mut Conn, caller: &Caller) -> Result<ObjectRights, StoreError>;

    /// The permission that a caller lacks who may read the object and not change it.
    fn required_permission(&self) -> &'static str;
}

impl OwnedObject for ApiKey {
    const KIND: &'static str = "API key";

    fn rights(&self, _: &mut Conn, caller: &Caller) -> Result<ObjectRights, StoreError> {
        Ok(caller.authority.rights_on(&self.ownership.owner_scope, self.ownership.owner_exists()))
    }

    fn required_permission(&self) -> &'static str {
        required_management_permission(&self.ownership.owner_scope)
    }
}

impl OwnedObject for ServiceClient {
    const KIND: &'static str = "service client";

    fn rights(&self, connection: &mut Conn, caller: &Caller) -> Result<ObjectRights, StoreError> {
        let with_owner = caller.authority.rights_on(&self.owner_scope, true);
        // The owner is read only if it makes a difference, since a list calls this for each of its
        // rows.
        let is_decided = with_owner == ObjectRights::NONE || caller.authority.tenant_scope == TenantScope::Account;
        if is_decided || owners::owner_exists(connection, &self.owner_scope)? {
            Ok(with_owner)
        } else {
            Ok(ObjectRights::NONE)
        }
    }

    fn required_permission(&self) -> &'static str {
        required_management_permission(&self.owner_scope)
    }
}

impl OwnedObject for AccessRecord {
    const KIND: &'static str = "access record";

    /// The store returns no record of a deleted organization.
    fn rights(&self, _: &mut Conn, caller: &Caller) -> Result<ObjectRights, StoreError> {
        let visible = RecordVisibility::of(&caller.authority, caller.user_scope.as_ref());
        Ok(if visible.includes(self) { ObjectRights::ALL } else { ObjectRights::NONE })
    }

    fn required_permission(&self) -> &'static str {
        MANAGE
    }
}

/// Returns the object if the caller has `right` on it. An object that the caller may not read is
/// reported like an object that does not exist.
pub(crate) fn authorize<T: OwnedObject>(
    connection: &mut Conn,
    caller: &Caller,
    object: Option<T>,
    right: ObjectRight,
) -> Result<T, Error> {
    let object = object.ok_or(Error::NotFound(T::KIND))?;
    let rights = object.rights(connection, caller)?;
    if rights.includes(right) {
        Ok(object)
    } else if rights.read {
        Err(Error::Forbidden(object.required_permission()))
    } else {
        Err(Error::NotFound(T::KIND))
    }
}

/// Returns those objects of a list that the caller may read.
pub(crate) fn retain_visible<T: OwnedObject>(
    connection: &mut Conn,
    caller: &Caller,
    objects: Vec<T>,
) -> Result<Vec<T>, StoreError> {
    let mut visible = Vec::new();
    for object in objects {
        if object.rights(connection, caller)?.read {
            visible.push(object);
        }
    }
    Ok(visible)
}
