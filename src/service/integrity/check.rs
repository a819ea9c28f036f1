//! Checks whether rows were altered outside of Keyswap (invariant 14).

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    crypto::{master_keys::MasterKeys, sha256},
    domain::{
        common::encryption::{EncryptionError, RowCipher as _},
        events::Event,
    },
    service::{
        Error, Services,
        events::{self, EventRange},
        lifecycle::Phase,
    },
    store::{self, AuthenticatedRow, Conn, StoreError, api_keys::authentication, encryption::columns::EncryptedColumn},
    telemetry::labels::AuthenticatedTable,
};

/// Rows that are read by one query.
const PAGE_SIZE: i64 = 500;
/// Events of the audit log that a background check verifies. The next check continues after them.
const EVENTS_PER_CHECK: i64 = 50_000;

/// Follows each page of a background check, which takes some milliseconds: the check of a million
/// keys uses less than a twentieth of a core for ten minutes.
const BACKGROUND_PAUSE: Duration = Duration::from_millis(250);

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegrityFault {
    /// The row was inserted, altered or deleted outside of Keyswap. It is refused.
    Altered,
    /// An older version of the row was put back. It is accepted, because Keyswap has written it,
    /// but not changed.
    OlderVersion,
    /// The row names a master key that this process does not have, so that it cannot be verified.
    MissingMasterKey,
}

impl IntegrityFault {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::OlderVersion => "older_version",
            Self::MissingMasterKey => "missing_master_key",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FaultyRow {
    pub table: AuthenticatedTable,
    pub id: String,
    pub fault: IntegrityFault,
}

impl FaultyRow {
    fn altered(table: AuthenticatedTable, id: String) -> Self {
        Self { table, id, fault: IntegrityFault::Altered }
    }
}

/// The result of a check.
#[derive(Debug, Default, Serialize)]
pub struct IntegrityReport {
    /// The number of rows that were checked, by table.
    pub checked: BTreeMap<AuthenticatedTable, usize>,
    pub faults: Vec<FaultyRow>,
}

/// A table whose rows are authenticated one by one.
struct CheckedTable {
    table: AuthenticatedTable,
    column: EncryptedColumn,
    /// Returns the rows with the given ids.
    find: fn(&mut Conn, &[String]) -> Result<Vec<AuthenticatedRow>, StoreError>,
}

const TABLES: [CheckedTable; 4] = [
    CheckedTable {
        table: AuthenticatedTable::Credentials,
        column: EncryptedColumn::Credentials,
        find: find_credentials,
    },
    CheckedTable {
        table: AuthenticatedTable::Audiences,
        column: EncryptedColumn::Audiences,
        find: store::access::audiences::find_to_check,
    },
    CheckedTable {
        table: AuthenticatedTable::AccessRecords,
        column: EncryptedColumn::AccessRecords,
        find: store::access::access_records::find_to_check,
    },
    CheckedTable {
        table: AuthenticatedTable::PortalSessions,
        column: EncryptedColumn::PortalSessions,
        find: store::portal::sessions::find_to_check,
    },
];

pub(super) fn find_credentials(connection: &mut Conn, ids: &[String]) -> Result<Vec<AuthenticatedRow>, StoreError> {
    authentication::find_to_check(connection, sha256, ids)
}

/// Checks every row that Keyswap authenticates. `pause` follows each page of rows. The check takes
/// minutes on a large database, so it ends early when the process stops.
pub async fn check(services: &Services, pause: Duration) -> Result<IntegrityReport, Error> {
    let mut report = IntegrityReport::default();
    check_signing_keys(services, &mut report).await?;
    let without_credentials =
        services.store.read(|connection| authentication::list_without_credentials(connection, PAGE_SIZE)).await?;
    report.faults.extend(without_credentials.into_iter().map(|id| FaultyRow::altered(AuthenticatedTable::ApiKeys, id)));
    for table in &TABLES {
        check_table(services, &mut report, table, pause).await?;
    }
    Ok(report)
}

/// Checks all rows and the next part of the audit log, and logs and counts what is wrong.
pub async fn run_background_check(services: &Services) -> Result<(), Error> {
    let mut report = check(services, BACKGROUND_PAUSE).await?;
    check_events(services, &mut report).await?;
    for FaultyRow { table, id, fault } in report.faults {
        services.metrics.record_integrity_failure(table);
        let (table, fault) = (table.as_str(), fault.as_str());
        tracing::error!(table, id, fault, "a row was altered outside of Keyswap; see `keyswap integrity list`");
    }
    Ok(())
}

async fn check_signing_keys(services: &Services, report: &mut IntegrityReport) -> Result<(), Error> {
    let encryption = services.store.encryption();
    let found = services.store.read(move |connection| store::signing::manifest::list(connection, &encryption)).await;
    let table = AuthenticatedTable::SigningKeys;
    match found {
        Ok(found) => {
            report.checked.insert(table, found.keys.len() + found.altered.len());
            report.faults.extend(found.altered.into_iter().map(|kid| FaultyRow::altered(table, kid.to_string())));
        }
        Err(StoreError::Altered { id, .. }) => {
            report.faults.push(FaultyRow::altered(AuthenticatedTable::SigningKeyManifest, id));
        }
        Err(StoreError::InvalidData(_)) => report.faults.push(FaultyRow::altered(table, UNREADABLE.to_owned())),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The id of a row that is reported without reading it.
const UNREADABLE: &str = "unreadable";

/// Rows of one table that were read together.
struct RowPage {
    ids: Vec<String>,
    rows: Vec<AuthenticatedRow>,
    /// Rows that this version cannot have written.
    unreadable: Vec<String>,
    /// The versions of the last events, by subject.
    versions: BTreeMap<String, i64>,
}

impl CheckedTable {
    fn read_page(&self, connection: &mut Conn, after: &str) -> Result<RowPage, StoreError> {
        let ids = store::encryption::columns::list_ids(connection, self.column, after, PAGE_SIZE)?;
        let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
        match (self.find)(connection, &ids) {
            Ok(found) => rows = found,
            Err(StoreError::Unavailable(cause)) => return Err(StoreError::Unavailable(cause)),
            // One row fails the whole page.
            Err(_) => {
                for id in &ids {
                    match (self.find)(connection, std::slice::from_ref(id)) {
                        Ok(found) => rows.extend(found),
                        Err(StoreError::Unavailable(cause)) => return Err(StoreError::Unavailable(cause)),
                        Err(_) => unreadable.push(id.clone()),
                    }
                }
            }
        }
        let subjects: Vec<_> = rows.iter().map(|row| row.subject.clone()).collect();
        // After the rows: the events of a change that is read are read as well.
        let versions = store::row_versions::last_versions(connection, &subjects)?;
        Ok(RowPage { ids, rows, unreadable, versions })
    }
}

async fn check_table(
    services: &Services,
    report: &mut IntegrityReport,
    checked: &'static CheckedTable,
    pause: Duration,
) -> Result<(), Error> {
    let (table, mut after) = (checked.table, String::new());
    while services.lifecycle.phase() < Phase::Stopping {
        let cursor = after.clone();
        let page = services.store.read(move |connection| checked.read_page(connection, &cursor)).await?;
        let Some(last) = page.ids.last() else { return Ok(()) };
        after.clone_from(last);
        *report.checked.entry(table).or_default() += page.ids.len();
        report.faults.extend(page.unreadable.into_iter().map(|id| FaultyRow::altered(table, id)));
        for row in page.rows {
            let recorded = page.versions.get(&row.subject);
            let altered = match is_altered(&services.master_keys, &row) {
                Err(EncryptionError::NoMasterKey(_)) => Some(IntegrityFault::MissingMasterKey),
                altered => altered?.then_some(IntegrityFault::Altered),
            };
            if let Some(fault) = altered {
                report.faults.push(FaultyRow { table, id: row.id, fault });
            } else if recorded.is_some_and(|recorded| row.version < *recorded)
                && is_unchanged(services, checked, &row).await?
            {
                report.faults.push(FaultyRow { table, id: row.id, fault: IntegrityFault::OlderVersion });
            }
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Returns whether a row, which seems to be older than its last event, is still the same. Otherwise
/// it was changed between the two queries.
async fn is_unchanged(
    services: &Services,
    checked: &'static CheckedTable,
    row: &AuthenticatedRow,
) -> Result<bool, Error> {
    let id = row.id.clone();
    let now = services.store.read(move |connection| (checked.find)(connection, &[id])).await?;
    Ok(now.iter().any(|now| now.encrypted == row.encrypted))
}

pub(super) fn is_altered(master_keys: &MasterKeys, row: &AuthenticatedRow) -> Result<bool, EncryptionError> {
    match master_keys.decrypt(&row.encoded, &row.encrypted) {
        Ok(_) => Ok(false),
        Err(EncryptionError::DecryptionFailed) => Ok(true),
        Err(error @ (EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_))) => Err(error),
    }
}

/// Verifies the next part of the hash chain, and begins again after its end.
async fn check_events(services: &Services, report: &mut IntegrityReport) -> Result<(), Error> {
    let (after, hash) = services.verified_events.get().unwrap_or_else(|| (0, Event::genesis_hash()));
    let range = EventRange { after, hash, limit: EVENTS_PER_CHECK };
    let table = AuthenticatedTable::Events;
    let next = match events::verify_range(services, range).await? {
        Ok(next) => next,
        Err(seq) => {
            report.faults.push(FaultyRow::altered(table, seq.to_string()));
            // The next check continues after the altered event, with the hash that its successor
            // records.
            let successor = services.store.read(move |connection| store::events::find(connection, seq + 1)).await?;
            successor.map(|event| (seq, event.prev_hash))
        }
    };
    services.verified_events.set(next);
    Ok(())
}
