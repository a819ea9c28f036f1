//! Why a start fails.

use crate::{
    crypto::master_key_file::MasterKeyError,
    domain::common::encryption::EncryptionError,
    service::Error,
    store::{ChangeError, OpenError, StoreError},
};
use std::{io, path::PathBuf};

/// The reason why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0} migrations are pending: start `keyswap serve` or run `keyswap migrate`")]
    NotMigrated(usize),
    #[error("the database is empty: start `keyswap serve` once to set it up")]
    NotSetUp,
    #[error("no master key in {}: every replica needs the same one, so none is created automatically on PostgreSQL. Run `keyswap master-key init`, or set keys.create = true, and copy the file to every replica", .0.display())]
    NoMasterKey(PathBuf),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error("the administrator's API key cannot be written to {}, because its directory is not writable: set bootstrap.admin_key_file to a file in a writable directory for the first start. No key was created", .0.display())]
    AdminKeyDirectory(PathBuf),
    #[error("failed to write the administrator's API key to {}: {}", .0.display(), .1)]
    AdminKey(PathBuf, io::Error),
    #[error(transparent)]
    Setup(#[from] Error),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Setup(error.into())
    }
}

impl ChangeError for StartError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Setup(error) = self { error.store_error() } else { None }
    }
}

impl From<EncryptionError> for StartError {
    fn from(error: EncryptionError) -> Self {
        Self::Setup(error.into())
    }
}
