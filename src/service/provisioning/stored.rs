//! The stored configuration that a file is compared with.

use crate::{
    domain::{
        access::{audience::Audience, permission::Permission, role::Role},
        common::page::{Page, PageRequest},
        directory::service_client::ServiceClient,
    },
    service::{
        Error,
        provisioning::{diff::ResourceChange, file::DesiredConfiguration},
    },
    store::{
        ChangeError, Conn, StoreError, Tx,
        access::{audiences, permissions, roles},
        api_keys::service_clients,
    },
};

/// The result of a plan: always an error, so that the transaction is rolled back.
pub(crate) enum PlanRollback {
    Planned(Vec<ResourceChange>),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for PlanRollback {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl ChangeError for PlanRollback {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Planned(_) => None,
            Self::Failed(error) => error.store_error(),
        }
    }
}

/// The stored resources that the file refers to.
pub(crate) struct StoredConfiguration {
    pub(crate) clients: Vec<ServiceClient>,
    pub(crate) audiences: Vec<Audience>,
    pub(crate) roles: Vec<Role>,
    pub(crate) permissions: Vec<Permission>,
}

impl StoredConfiguration {
    /// Reads and locks the resources until the transaction ends, in the common order of locks.
    pub(crate) fn lock(tx: &mut Tx<'_>, desired: &DesiredConfiguration, prune: bool) -> Result<Self, StoreError> {
        let mut clients = Vec::new();
        if let Some(named) = &desired.service_clients {
            let names: Vec<_> = named.iter().map(|client| client.name.clone()).collect();
            for id in service_clients::list_ids_of_account(tx, (!prune).then_some(&names))? {
                clients.extend(service_clients::find_for_change(tx, &id)?);
            }
        }
        let mut audiences = Vec::new();
        if let Some(named) = &desired.audiences {
            let listed = if prune {
                list_all_pages(tx, audiences::list)?
            } else {
                let names = named.iter().map(|audience| audience.identifier.clone()).collect();
                audiences::find_by_identifiers(tx, &names)?
            };
            let mut ids: Vec<_> = listed.into_iter().map(|audience| audience.id).collect();
            ids.sort();
            for id in ids {
                audiences.extend(audiences::find_for_change(tx, &id)?);
            }
        }
        let mut role_names: Vec<_> = desired.roles.iter().flatten().map(|role| role.name.clone()).collect();
        if prune && desired.roles.is_some() {
            role_names.extend(list_all_pages(tx, roles::list)?.into_iter().map(|role| role.name));
        }
        let roles = roles::find_many_for_update(tx, &role_names.into_iter().collect())?;
        // Includes permissions that the other sections only refer to. The rules of each resource
        // would otherwise lock them one by one, out of the common order.
        let mut permission_names = desired.permission_names();
        if prune && desired.permissions.is_some() {
            let listed = list_all_pages(tx, permissions::list)?;
            permission_names.extend(listed.into_iter().map(|permission| permission.name));
        }
        let permissions = permissions::find_many_for_update(tx, &permission_names.into_iter().collect())?;
        Ok(Self { clients, audiences, roles, permissions })
    }
}

pub(crate) fn list_all_pages<T>(
    connection: &mut Conn,
    list: fn(&mut Conn, &PageRequest) -> Result<Page<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (mut all, mut request) = (Vec::new(), PageRequest::FIRST_PAGE);
    loop {
        let page = list(connection, &request)?;
        all.extend(page.data);
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => return Ok(all),
        }
    }
}
