//! Quotas of objects: how many an owner or an organization may have.

/// A quota that the request would exceed, with its value. The text is shown to users of the pages,
/// so it says what they can do before it names the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExceededQuota {
    #[error(
        "the owner has reached the maximum of {0} API keys: revoke keys that are not needed, or ask an operator to raise \
         limits.keys_per_owner"
    )]
    KeysPerOwner(u32),
    #[error(
        "the organization has reached the maximum of {0} API keys: revoke keys that are not needed, or ask an operator to raise \
         limits.keys_per_organization"
    )]
    KeysPerOrganization(u32),
    #[error(
        "the user has reached the maximum of {0} service clients: delete one that is not needed, or ask an operator to raise \
         service_clients.max_per_user"
    )]
    ServiceClientsPerUser(u32),
}
