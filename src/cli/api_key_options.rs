//! Options of `keyswap api-key`.

use crate::domain::{
    access::{audience::Identifier, owner::OwnerType, permission::PermissionName},
    common::{
        id::{KeyId, OrganizationId, ServiceClientId, UserId},
        json::{Metadata, MetadataPatch},
        name::{Description, DisplayName},
        time::{Span, Timestamp},
    },
    credentials::{
        api_key::{ApiKeyAttributes, ApiKeyPatch, KeyFilter, KeyState},
        creator::CreatorFilter,
        imported::{ImportedKeyDigest, MaskedKey},
    },
};
use crate::service::api_keys::{RequestedOwner, types::NewApiKey};
use clap::Args;

#[derive(Debug, Args)]
pub struct Create {
    /// Set the display name.
    #[arg(long)]
    pub name: DisplayName,
    /// Say what the key is for, in up to 500 characters.
    #[arg(long)]
    pub description: Option<Description>,
    /// Assign the key to this service client. Without any owner option, the key
    /// is generic and acts for itself.
    #[arg(long, conflicts_with_all = ["user", "organization"])]
    pub service_client: Option<ServiceClientId>,
    /// Assign the key to this user. With --organization, the key belongs to the
    /// user within that organization.
    #[arg(long)]
    pub user: Option<UserId>,
    /// Assign the key to this organization. With --user, set the organization
    /// within which the user owns the key.
    #[arg(long)]
    pub organization: Option<OrganizationId>,
    /// Grant this permission to the key. Repeatable.
    #[arg(long = "permission")]
    pub permissions: Vec<PermissionName>,
    /// Allow this audience. Repeatable. Without it, every audience is allowed.
    #[arg(long = "audience")]
    pub audiences: Vec<Identifier>,
    /// Let the key expire after this time, such as 90d. Without it, the key is
    /// valid until it is revoked.
    #[arg(long)]
    pub expires_in: Option<Span>,
    /// Limit the lifetime of tokens issued for the key.
    #[arg(long)]
    pub max_token_ttl: Option<Span>,
    /// Limit the number of exchanges per minute.
    #[arg(long)]
    pub exchanges_per_minute: Option<u32>,
    /// Issue tokens with authorization_details instead of a scope: the key can
    /// do only what its access records grant.
    #[arg(long)]
    pub record_bound: bool,
    /// Attach metadata: a JSON object of your own.
    #[arg(long, value_parser = Metadata::parse)]
    pub metadata: Option<Metadata>,
    /// Import an existing key by the SHA-256 digest of its full text, in
    /// hexadecimal. No value is printed.
    #[arg(long, value_name = "HEX")]
    pub import_sha256: Option<ImportedKeyDigest>,
    /// Set the masked form of the imported key, such as sk_live_…abcd.
    #[arg(long, requires = "import_sha256")]
    pub import_masked: Option<MaskedKey>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Patch {
    #[command(flatten)]
    pub one: SelectedKey,
    /// Set the display name.
    #[arg(long)]
    pub name: Option<DisplayName>,
    /// Set the description.
    #[arg(long, conflicts_with = "no_description")]
    pub description: Option<Description>,
    /// Remove the description.
    #[arg(long)]
    pub no_description: bool,
    /// Replace the permissions of the key with this one. Repeatable.
    #[arg(long = "permission", conflicts_with = "no_permissions")]
    pub permissions: Vec<PermissionName>,
    /// Remove all permissions.
    #[arg(long)]
    pub no_permissions: bool,
    /// Replace the allowed audiences with this one. Repeatable.
    #[arg(long = "audience", conflicts_with = "any_audience")]
    pub audiences: Vec<Identifier>,
    /// Allow every audience.
    #[arg(long)]
    pub any_audience: bool,
    /// Let the key expire after this time from now, such as 90d.
    #[arg(long, conflicts_with = "never_expires")]
    pub expires_in: Option<Span>,
    /// Remove the expiry: the key is valid until it is revoked.
    #[arg(long)]
    pub never_expires: bool,
    /// Limit the lifetime of tokens issued for the key.
    #[arg(long)]
    pub max_token_ttl: Option<Span>,
    /// Limit the number of exchanges per minute.
    #[arg(long, conflicts_with = "unlimited")]
    pub exchanges_per_minute: Option<u32>,
    /// Remove the limit on exchanges per minute.
    #[arg(long)]
    pub unlimited: bool,
    /// Issue tokens with authorization_details instead of a scope.
    #[arg(long, conflicts_with = "not_record_bound")]
    pub record_bound: bool,
    /// Issue tokens with a scope again, which holds for every resource.
    #[arg(long)]
    pub not_record_bound: bool,
    /// Replace the metadata with this JSON object.
    #[arg(long, value_parser = Metadata::parse)]
    pub metadata: Option<Metadata>,
}

impl Create {
    /// The key to create, at `now` by the database clock.
    pub fn key(&self, now: Timestamp) -> NewApiKey {
        let owner = match (&self.service_client, &self.user, &self.organization) {
            (Some(client), ..) => RequestedOwner::ServiceClient { id: client.clone() },
            (None, Some(user), organization) => {
                RequestedOwner::User { id: Some(user.clone()), organization_id: organization.clone() }
            }
            (None, None, Some(organization)) => RequestedOwner::Organization { id: Some(organization.clone()) },
            (None, None, None) => RequestedOwner::Unowned {},
        };
        let attributes = ApiKeyAttributes {
            name: self.name.clone(),
            description: self.description.clone(),
            permissions: self.permissions.iter().cloned().collect(),
            audiences: (!self.audiences.is_empty()).then(|| self.audiences.clone()),
            metadata: self.metadata.clone().unwrap_or_default(),
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            record_bound: self.record_bound,
            expires_at: self.expires_in.map(|span| now.plus(span)),
        };
        NewApiKey { owner: Some(owner), attributes, access_record: None }
    }
}

impl Patch {
    /// The changed attributes, at `now` by the database clock.
    pub fn attributes(self, now: Timestamp) -> ApiKeyPatch {
        let has_permissions = self.no_permissions || !self.permissions.is_empty();
        let has_audiences = self.any_audience || !self.audiences.is_empty();
        ApiKeyPatch {
            name: self.name,
            description: if self.no_description { Some(None) } else { self.description.map(Some) },
            permissions: has_permissions.then(|| self.permissions.into_iter().collect()),
            audiences: has_audiences.then(|| (!self.any_audience).then_some(self.audiences)),
            metadata: self.metadata.map(MetadataPatch::Replace),
            max_token_ttl: self.max_token_ttl.map(Some),
            exchanges_per_minute: if self.unlimited { Some(None) } else { self.exchanges_per_minute.map(Some) },
            record_bound: (self.record_bound || self.not_record_bound).then_some(self.record_bound),
            expires_at: if self.never_expires { Some(None) } else { self.expires_in.map(|span| Some(now.plus(span))) },
        }
    }
}

/// Options that select keys.
#[derive(Debug, Args)]
pub struct Filter {
    /// List only keys of this service client.
    #[arg(long)]
    pub service_client: Option<ServiceClientId>,
    /// List only keys within this organization.
    #[arg(long)]
    pub organization: Option<OrganizationId>,
    /// List only keys of this user.
    #[arg(long)]
    pub user: Option<UserId>,
    /// List only keys with this owner type: user, organization, service_client
    /// or none.
    #[arg(long)]
    pub owner_type: Option<OwnerType>,
    /// List only keys in this state: active, suspended, revoked or expired.
    #[arg(long)]
    pub state: Option<KeyState>,
    /// List only keys that this principal created: user:<id>, cli, system, or
    /// the id of the API key that they were created with.
    #[arg(long)]
    pub created_by: Option<CreatorFilter>,
    /// List only keys that were not used for this time, such as 90d.
    #[arg(long)]
    pub unused_for: Option<Span>,
    /// List only deleted keys.
    #[arg(long)]
    pub archived: bool,
}

impl Filter {
    pub fn key_filter(self, now: Timestamp) -> KeyFilter {
        KeyFilter {
            owner_type: self.owner_type,
            service_client: self.service_client,
            organization: self.organization,
            user: self.user,
            state: self.state,
            created_by: self.created_by,
            unused_since: self.unused_for.map(|span| now.minus(span)),
            only_archived: self.archived,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct SelectedKey {
    /// Select the key by its id, key_….
    pub id: KeyId,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
