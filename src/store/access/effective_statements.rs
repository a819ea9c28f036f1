//! The statements of access records that apply to a principal.

use crate::{
    domain::{
        access::access_record::{AccessRecord, EffectiveStatement},
        common::id::{GenerationId, OrganizationId},
        events::ActorRef,
    },
    store::{
        access::{access_records, stored_access_record::StoredAccessRecord},
        prelude::*,
    },
};

/// Selects records by who granted them.
#[derive(Debug, Clone)]
pub enum GrantedBy {
    Anyone,
    /// Callers that act for no user.
    Operators,
    OtherThan(ActorRef),
}

impl GrantedBy {
    fn includes(&self, record: &AccessRecord) -> bool {
        match self {
            Self::Anyone => true,
            Self::Operators => record.is_granted_by_operator(),
            Self::OtherThan(actor) => record.granted_by != *actor,
        }
    }
}

/// Returns the statements of the records that name one of these principals, either within the given
/// generation of an organization or outside any organization. Returns `StoreError::Altered` if such
/// a record was altered outside of Keyswap.
pub fn find_statements_of_principals(
    tx: &mut Tx<'_>,
    unique_ids: &[&str],
    organization: Option<(&OrganizationId, &GenerationId)>,
    granted_by: &GrantedBy,
) -> Result<Vec<EffectiveStatement>, StoreError> {
    let found = access_records::find_authentic_of_principals(tx, unique_ids, organization)?;
    let granted = found.into_iter().filter(|stored| granted_by.includes(&stored.record));
    Ok(granted.flat_map(StoredAccessRecord::into_statements).collect())
}
