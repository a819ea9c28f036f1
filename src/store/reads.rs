//! Reads with the time of the database, reads for the rollback guard, and lookups of credentials.

use std::collections::BTreeSet;

use tokio::time::timeout;

use crate::{
    domain::{
        access::audience::Identifier,
        common::{derived_id::CredentialId, time::Timestamp},
    },
    store::{
        Store, batch_loader,
        connection::Conn,
        credentials::{
            key_context::LookupDetail,
            key_details::CredentialLookup,
            narrow_details::{self, DetailedNarrowLookup},
            narrow_lookup::{self, NarrowLookup},
        },
        database_lease::Trust,
        error::StoreError,
        lookup_queue::{FoundCredential, LookupScope},
        operation_limits::OperationKind,
        transaction,
    },
};

impl Store {
    /// Like `read`, with the time of the database before it.
    pub async fn read_at<T, E>(
        &self,
        body: impl FnOnce(&mut Conn, Timestamp) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.read(move |connection| {
            let now = transaction::now(connection)?;
            body(connection, now)
        })
        .await
    }

    /// Returns the time of the database.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read(transaction::now).await
    }

    /// Like `read`, for the rollback check, after which a server is trusted.
    pub async fn read_for_rollback_check<T, E>(
        &self,
        body: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_blocking(OperationKind::Read, Trust::Connected, move |_, connection| body(connection)).await
    }

    /// Loads a credential and the existing audiences among `targets`, in the level of detail that
    /// `detail` selects. The data is read after this call begins. The batch loader combines
    /// concurrent calls into one query.
    pub async fn load_credential(
        &self,
        credential: CredentialId,
        targets: BTreeSet<Identifier>,
        detail: LookupDetail,
    ) -> Result<Option<CredentialLookup>, StoreError> {
        match self.look_up(credential, LookupScope::AllTables(detail, targets)).await? {
            Some(FoundCredential::AllTables(found)) => Ok(Some(*found)),
            Some(FoundCredential::Narrow(_) | FoundCredential::NarrowDetails(_)) | None => Ok(None),
        }
    }

    /// Loads the narrow row of a credential, which is read after this call begins. Returns `None`
    /// if all tables must be read: for an unusual or unknown credential, and if SQLite is locked.
    pub async fn load_narrow_credential(&self, credential: CredentialId) -> Result<Option<NarrowLookup>, StoreError> {
        if let Some(readers) = &self.local_readers {
            return Ok(readers.read(|connection| narrow_lookup::find(connection, credential)).flatten());
        }
        match self.look_up_narrow(credential, LookupScope::Narrow).await? {
            Some(FoundCredential::Narrow(found)) => Ok(Some(*found)),
            Some(FoundCredential::NarrowDetails(_) | FoundCredential::AllTables(_)) | None => Ok(None),
        }
    }

    /// Like `load_narrow_credential`, with what validation returns of the key.
    pub async fn load_narrow_details(
        &self,
        credential: CredentialId,
    ) -> Result<Option<DetailedNarrowLookup>, StoreError> {
        if let Some(readers) = &self.local_readers {
            let found = readers.read(|connection| narrow_details::find_many(connection, &[credential]));
            return Ok(found.and_then(|mut found| found.remove(&credential)));
        }
        match self.look_up_narrow(credential, LookupScope::NarrowDetails).await? {
            Some(FoundCredential::NarrowDetails(found)) => Ok(Some(*found)),
            Some(FoundCredential::Narrow(_) | FoundCredential::AllTables(_)) | None => Ok(None),
        }
    }

    /// Like `look_up`. A narrow row that cannot be decoded was altered, so all tables must be read.
    async fn look_up_narrow(
        &self,
        credential: CredentialId,
        scope: LookupScope,
    ) -> Result<Option<FoundCredential>, StoreError> {
        match self.look_up(credential, scope).await {
            Err(StoreError::InvalidData(_)) => Ok(None),
            found => found,
        }
    }

    async fn look_up(
        &self,
        credential: CredentialId,
        scope: LookupScope,
    ) -> Result<Option<FoundCredential>, StoreError> {
        let pool_state = self.pool_state.load_full();
        let busy = || StoreError::unavailable("too many requests wait for it");
        let pending = batch_loader::submit_lookup(&pool_state, credential, scope).ok_or_else(busy)?;
        match timeout(self.operation_timeout, pending.wait_for_result()).await {
            Ok(Some(answer)) => answer?.accept(self.lease(), Trust::RollbackChecked),
            Ok(None) => Err(StoreError::unavailable("a look-up was given up")),
            Err(_) => {
                // One unresponsive connection suffices, because all lookups wait for it.
                if pool_state.is_unresponsive(self.operation_timeout)
                    || pool_state.has_no_response_since(&pool_state.last_batch_ms, self.operation_timeout)
                {
                    self.replace_pool(&pool_state);
                }
                Err(StoreError::unavailable("it does not answer"))
            }
        }
    }

    /// Stops the batch loader and releases its connections, so that dropping the store closes every
    /// connection. This is the last call on a store.
    pub async fn close(&self) {
        self.pool_state.load_full().batch_loader.close().await;
        if let Some(readers) = &self.local_readers {
            readers.close();
        }
    }
}
