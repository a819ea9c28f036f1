//! Owner deletions. The keys of a deleted owner stop working at once; each key then gets an event
//! of its own, which a job records in batches.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper,
};

use crate::{
    domain::{
        access::{
            owner::Home,
            owner_status::{Gone, Standing},
        },
        common::id::{Incarnation, KeyId, OrganizationId, ServiceClientId},
        credentials::expiry_notification::ENDED,
    },
    store::{
        api_keys::{key_row::KeyRow, owner_status},
        columns::parsed,
        error::StoreError,
        pool::Conn,
        schema::{api_keys, departures},
        transaction::Tx,
    },
};

/// The owner that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departed {
    /// A user, a membership or an organization, with its generation id.
    Home(Home),
    /// The member who created keys of an organization.
    Creator(Home),
    ServiceClient(ServiceClientId),
}

/// A key that ended with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub key: KeyId,
    pub organization: Option<OrganizationId>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = departures)]
struct Row {
    id: String,
    cause: String,
    user_id: Option<String>,
    organization_id: Option<String>,
    service_client_id: Option<String>,
    incarnation: Option<String>,
    told_until: String,
}

/// Records an owner deletion.
pub fn note(tx: &mut Tx<'_>, departed: &Departed, gone: Gone) -> Result<(), StoreError> {
    let id: Incarnation = tx.new_id()?;
    let now = tx.now().millis();
    let (home, client) = match departed {
        Departed::Home(home) | Departed::Creator(home) => (Some(home), None),
        Departed::ServiceClient(id) => (None, Some(id.as_str())),
    };
    diesel::insert_into(departures::table)
        .values((
            departures::id.eq(id.as_str()),
            departures::cause.eq(gone.as_str()),
            departures::user_id.eq(home.and_then(Home::user).map(|id| id.as_str())),
            departures::organization_id.eq(home.and_then(Home::organization).map(|id| id.as_str())),
            departures::service_client_id.eq(client),
            departures::incarnation.eq(home.and_then(Home::incarnation).map(|id| id.as_str())),
            departures::told_until.eq(""),
            departures::created_at.eq(now),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Returns whether there are owner deletions whose keys do not all have their events.
pub fn are_left(connection: &mut Conn) -> Result<bool, StoreError> {
    let first: Option<String> = departures::table.select(departures::id).first(connection).optional()?;
    Ok(first.is_some())
}

/// A query for keys.
pub(crate) type Keys<'a> = api_keys::BoxedQuery<'a, <Conn as diesel::Connection>::Backend>;

/// An owner deletion whose keys do not all have their events.
pub(crate) struct Departure {
    gone: Gone,
    row: Row,
}

impl Departure {
    fn read(row: Row) -> Result<Self, StoreError> {
        let gone = Gone::from_stored(&row.cause).ok_or_else(|| StoreError::Corrupt(format!("cause {}", row.cause)))?;
        Ok(Self { gone, row })
    }

    /// Restricts a query to the keys beyond the event cursor that may have ended with this owner.
    pub fn narrow<'a>(&self, keys: Keys<'a>) -> Keys<'a> {
        let keys = keys.filter(api_keys::id.gt(self.row.told_until.clone()));
        match (self.gone, self.row.service_client_id.clone()) {
            (_, Some(client)) => {
                keys.filter(api_keys::owner_id.eq(client)).filter(api_keys::owner_type.eq("service_client"))
            }
            (Gone::CreatorLeft, None) => keys
                .filter(api_keys::creator_id.eq(self.row.user_id.clone()))
                .filter(api_keys::creator_incarnation.eq(self.row.incarnation.clone())),
            (Gone::OrganizationDeleted, None) => {
                keys.filter(api_keys::organization_id.eq(self.row.organization_id.clone()))
            }
            (Gone::UserDeleted | Gone::MemberLeft | Gone::ServiceClientDeleted, None) => keys
                .filter(api_keys::user_id.eq(self.row.user_id.clone()))
                .filter(api_keys::incarnation.eq(self.row.incarnation.clone())),
        }
    }
}

/// Returns the owner deletions whose keys do not all have their events.
pub(crate) fn left(connection: &mut Conn) -> Result<Vec<Departure>, StoreError> {
    let rows: Vec<Row> = departures::table.order(departures::id.asc()).select(Row::as_select()).load(connection)?;
    rows.into_iter().map(Departure::read).collect()
}

/// Returns whether the event for the end of the key has been recorded.
pub fn is_told(connection: &mut Conn, key: &KeyId) -> Result<bool, StoreError> {
    let noticed: Option<Option<i32>> =
        api_keys::table.find(key.as_str()).select(api_keys::noticed_days).first(connection).optional()?;
    Ok(noticed.flatten() == Some(ENDED))
}

/// Examines up to `most` keys of the first owner deletion and returns the keys that ended with it,
/// and the cause. These keys count as notified with this change. Returns `None` if there is no
/// owner deletion left. The caller must hold a lock that prevents concurrent calls.
pub fn next(tx: &mut Tx<'_>, most: i64, ends_with_creator: bool) -> Result<Option<(Gone, Vec<Ended>)>, StoreError> {
    let row: Option<Row> =
        departures::table.order(departures::id.asc()).select(Row::as_select()).first(&mut **tx).optional()?;
    let Some(row) = row else { return Ok(None) };
    let departure = Departure::read(row)?;
    let gone = departure.gone;
    let query = departure.narrow(api_keys::table.filter(api_keys::revoked_at.is_null()).into_boxed());
    let rows: Vec<KeyRow> = query
        .filter(api_keys::noticed_days.is_null().or(api_keys::noticed_days.ne(ENDED)))
        .order(api_keys::id.asc())
        .limit(most)
        .select(KeyRow::as_select())
        .load(&mut **tx)?;
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    match ids.last() {
        Some(last) => diesel::update(departures::table.find(&departure.row.id))
            .set(departures::told_until.eq(last))
            .execute(&mut **tx)?,
        None => diesel::delete(departures::table.find(&departure.row.id)).execute(&mut **tx)?,
    };
    // An organization that was created again has new keys with the same organization id. Only the
    // owner status of each key distinguishes them.
    let standings = owner_status::of_keys(tx, &ids)?;
    let mut ended = Vec::new();
    for key in &rows {
        let standing = standings.get(&key.id).cloned().unwrap_or_default();
        if let Standing::Gone(_) = owner_status::ownership(key, &standing)?.standing(ends_with_creator) {
            let organization = key.organization_id.as_deref().map(|id| parsed("organization id", id)).transpose()?;
            ended.push(Ended { key: parsed("key id", &key.id)?, organization });
        }
    }
    let told: Vec<_> = ended.iter().map(|ended| ended.key.as_str()).collect();
    diesel::update(api_keys::table.filter(api_keys::id.eq_any(told)))
        .set((api_keys::noticed_days.eq(Some(ENDED)), api_keys::ended_with.eq(gone.as_str())))
        .execute(&mut **tx)?;
    Ok(Some((gone, ended)))
}
