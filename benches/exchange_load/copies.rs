//! Copies the rows of one key, thousands in a statement. The columns are read from the schema, so
//! new columns are copied as well.

use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    sql_types::{Integer, Text},
};
use serde_json::json;

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        common::{
            derived_id::CredentialId,
            id::{GeneratedId, KeyId, StatusListId},
            time::Timestamp,
        },
        status_lists::StatusListIndex,
    },
};

use super::databases::{Database, TemporaryDeployment};

/// The values in which a copy differs.
pub struct NewKey {
    pub key: KeyId,
    pub credential: CredentialId,
    pub status: StatusListIndex,
    pub encrypted: Vec<u8>,
}

enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

pub struct Copies {
    link: Link,
    /// The ids of the rows that are copied.
    key: String,
    credential: String,
    made_at: Timestamp,
    /// The INSERT statement for each table.
    keys: String,
    credentials: String,
    list: List,
}

/// The status list with free indexes. As in the service, at most half of the indexes of a list are
/// assigned.
struct List {
    id: String,
    size: i32,
    used: i32,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = Integer)]
    size: i32,
}

impl Link {
    fn names(&mut self, table: &str) -> Vec<String> {
        let found: Result<Vec<Column>, _> = match self {
            Self::Sqlite(connection) => diesel::sql_query("SELECT name FROM pragma_table_info($1)").bind::<Text, _>(table).load(connection),
            Self::Postgres(connection) => diesel::sql_query(
                "SELECT column_name::TEXT AS name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1",
            )
            .bind::<Text, _>(table)
            .load(connection),
        };
        found.expect("the columns").into_iter().map(|column| column.name).collect()
    }

    fn execute(&mut self, statement: &str, texts: [&str; 2]) {
        let query = diesel::sql_query(statement).bind::<Text, _>(texts[0]).bind::<Text, _>(texts[1]);
        match self {
            Self::Sqlite(connection) => query.execute(connection),
            Self::Postgres(connection) => query.execute(connection),
        }
        .expect("copies");
    }

    fn size_of_lists(&mut self) -> i32 {
        let query = diesel::sql_query("SELECT MAX(size) AS size FROM status_lists WHERE kind = 'credential'");
        let found: Result<Size, _> = match self {
            Self::Sqlite(connection) => query.get_result(connection),
            Self::Postgres(connection) => query.get_result(connection),
        };
        found.expect("the list of the first key").size
    }
}

impl Copies {
    pub fn of(place: &TemporaryDeployment, key: &KeyId, credential: &CredentialId, made_at: Timestamp) -> Self {
        let url = place.url();
        let (mut link, rows, bytes) = match place.database {
            Database::Sqlite => {
                let file = url.trim_start_matches("sqlite://");
                let mut connection = SqliteConnection::establish(file).expect("the database");
                // Ids are random. With SQLite's default cache of 2 MiB, each insert would read and
                // write different pages.
                let memory = "PRAGMA cache_size = -1048576; PRAGMA synchronous = OFF";
                connection.batch_execute(memory).expect("more memory");
                (Link::Sqlite(connection), "json_each($1) AS new", "unhex(new.value ->> 2)")
            }
            Database::Postgres => {
                let connection = PgConnection::establish(&url).expect("the database");
                (
                    Link::Postgres(connection),
                    "jsonb_array_elements($1::JSONB) AS new(value)",
                    "decode(new.value ->> 2, 'hex')",
                )
            }
        };
        let mut copying = |table: &str, own: &dyn Fn(&str) -> Option<String>| {
            let names = link.names(table);
            let values: Vec<_> = names.iter().map(|name| own(name).unwrap_or_else(|| format!("old.{name}"))).collect();
            let (names, values) = (names.join(", "), values.join(", "));
            format!(
                "INSERT INTO {table} ({names}) SELECT {values} FROM {rows}, (SELECT * FROM {table} WHERE id = $2) AS old"
            )
        };
        let keys = copying("api_keys", &|name| (name == "id").then(|| "new.value ->> 0".to_owned()));
        let credentials = copying("credentials", &|name| {
            Some(match name {
                "id" => "new.value ->> 1".to_owned(),
                "number" => "CAST(new.value ->> 5 AS BIGINT)".to_owned(),
                "key_id" => "new.value ->> 0".to_owned(),
                "encrypted_secret" => bytes.to_owned(),
                "status_list" => "new.value ->> 3".to_owned(),
                "status_index" => "CAST(new.value ->> 4 AS INTEGER)".to_owned(),
                _ => return None,
            })
        });
        let size = link.size_of_lists();
        let (key, credential) = (key.as_str().to_owned(), credential.as_str().to_owned());
        Self { link, key, credential, made_at, keys, credentials, list: List { id: String::new(), size, used: size } }
    }

    pub fn insert(&mut self, batch: &[NewKey]) {
        let rows: Vec<_> = batch
            .iter()
            .map(|copy| {
                let encrypted: String = copy.encrypted.iter().map(|byte| format!("{byte:02x}")).collect();
                json!([
                    copy.key.as_str(),
                    copy.credential.as_str(),
                    encrypted,
                    copy.status.list.as_str(),
                    copy.status.index,
                    copy.credential.number()
                ])
            })
            .collect();
        let rows = serde_json::to_string(&rows).expect("JSON");
        self.link.execute(&self.keys, [&rows, &self.key]);
        self.link.execute(&self.credentials, [&rows, &self.credential]);
    }

    /// Assigns an index to the next copy.
    pub fn assign_index(&mut self) -> StatusListIndex {
        let list = &mut self.list;
        if list.used >= list.size / 2 {
            let id = StatusListId::generate(self.made_at, &SystemEntropy::default()).expect("randomness");
            *list = List { id: id.as_str().to_owned(), size: list.size, used: 0 };
            let new = "INSERT INTO status_lists (id, kind, size, used, created_at) \
                       SELECT $1, kind, size, size / 2, created_at FROM status_lists WHERE kind = $2 LIMIT 1";
            self.link.execute(new, [&list.id, "credential"]);
        }
        list.used += 1;
        // Assigns each index once, in a scattered order: the factor is odd, so it is coprime to the
        // size, a power of two.
        let index = i64::from(list.used) * 40_503 % i64::from(list.size);
        StatusListIndex {
            list: list.id.parse().expect("the id of a list"),
            index: u32::try_from(index).expect("an index of the list"),
        }
    }
}
