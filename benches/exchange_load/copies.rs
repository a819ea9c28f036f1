//! Copies the rows of keys, thousands in a statement. The columns are read from the schema, so new
//! columns are copied as well.

use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    pg::Pg,
    sql_types::{Integer, Text},
    sqlite::Sqlite,
};
use serde_json::{Value, json};

use keyswap::{
    crypto::random::SystemEntropy,
    domain::{
        access::owner::{Owner, OwnerScope},
        common::{
            derived_id::CredentialId,
            id::{GeneratedId, GenerationId, KeyId, OrganizationId, StatusListId, UserId},
            time::Timestamp,
        },
        status_lists::StatusListIndex,
    },
};

use super::databases::{Database, TemporaryDeployment};

/// The key and the credential whose rows are copied.
#[derive(Debug, Clone)]
pub struct Template {
    pub key: KeyId,
    pub credential: CredentialId,
}

/// The values in which a copy differs from its template.
pub struct NewKey {
    pub template: Template,
    pub key: KeyId,
    pub credential: CredentialId,
    pub owner: Owner,
    pub owner_scope: OwnerScope,
    pub status: StatusListIndex,
    pub encrypted: Vec<u8>,
}

/// A connection to the database of a deployment.
pub enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

pub struct Copies {
    link: Link,
    made_at: Timestamp,
    /// The INSERT statement for each table.
    statements: Vec<String>,
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
    pub fn connect(place: &TemporaryDeployment) -> Self {
        let url = place.url();
        match place.database {
            Database::Sqlite => {
                let file = url.trim_start_matches("sqlite://");
                let mut connection = SqliteConnection::establish(file).expect("the database");
                // Ids are random. With SQLite's default cache of 2 MiB, each insert would read and
                // write different pages.
                let memory = "PRAGMA cache_size = -1048576; PRAGMA synchronous = OFF";
                connection.batch_execute(memory).expect("more memory");
                Self::Sqlite(connection)
            }
            Database::Postgres => Self::Postgres(PgConnection::establish(&url).expect("the database")),
        }
    }

    pub fn load<R>(&mut self, query: &str) -> Vec<R>
    where
        R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
    {
        let query = diesel::sql_query(query);
        match self {
            Self::Sqlite(connection) => query.load::<R>(connection),
            Self::Postgres(connection) => query.load::<R>(connection),
        }
        .expect("rows")
    }

    /// The columns of a table. There are none if this schema does not have the table.
    fn names(&mut self, table: &str) -> Vec<String> {
        let query = match self {
            Self::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}')"),
            Self::Postgres(_) => format!(
                "SELECT column_name::TEXT AS name FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{table}'"
            ),
        };
        self.load::<Column>(&query).into_iter().map(|column| column.name).collect()
    }

    fn execute(&mut self, statement: &str, text: &str) {
        let query = diesel::sql_query(statement).bind::<Text, _>(text);
        match self {
            Self::Sqlite(connection) => query.execute(connection),
            Self::Postgres(connection) => query.execute(connection),
        }
        .expect("copies");
    }

    fn size_of_lists(&mut self) -> i32 {
        let found = self.load::<Size>("SELECT MAX(size) AS size FROM status_lists WHERE kind = 'credential'");
        found.first().expect("the list of the first key").size
    }

    /// The statement that copies rows of a table: a row for each element of the bound JSON. `id` is
    /// the value of the column `id`, and `on` finds the row to copy. Returns `None` if this schema
    /// does not have the table.
    fn copying(&mut self, table: &str, id: &str, on: &str) -> Option<String> {
        let names = self.names(table);
        if names.is_empty() {
            return None;
        }
        let rows = match self {
            Self::Sqlite(_) => "json_each($1) AS new",
            Self::Postgres(_) => "jsonb_array_elements($1::JSONB) AS new(value)",
        };
        let values: Vec<_> = names
            .iter()
            .map(|name| match name.as_str() {
                "id" => id.to_owned(),
                name => self.new_value(name).unwrap_or_else(|| format!("old.{name}")),
            })
            .collect();
        let (names, values) = (names.join(", "), values.join(", "));
        // CROSS JOIN makes SQLite look up each template instead of scanning the table.
        Some(format!("INSERT INTO {table} ({names}) SELECT {values} FROM {rows} CROSS JOIN {table} AS old WHERE {on}"))
    }

    /// The value of a column in which copies differ, whichever table it is in.
    fn new_value(&self, column: &str) -> Option<String> {
        Some(match column {
            "key_id" => value(0),
            "credential_id" => value(1),
            "encrypted_secret" => match self {
                Self::Sqlite(_) => format!("unhex({})", value(2)),
                Self::Postgres(_) => format!("decode({}, 'hex')", value(2)),
            },
            "status_list" => value(3),
            "status_index" => format!("CAST({} AS INTEGER)", value(4)),
            "number" => format!("CAST({} AS BIGINT)", value(5)),
            "owner_id" => value(8),
            "user_id" => value(9),
            "organization_id" => value(10),
            "generation_id" => value(11),
            _ => return None,
        })
    }
}

/// A value of a row of the bound JSON, which `NewKey::to_row` writes.
fn value(position: usize) -> String {
    format!("new.value ->> {position}")
}

impl NewKey {
    fn to_row(&self) -> Value {
        let encrypted: String = self.encrypted.iter().map(|byte| format!("{byte:02x}")).collect();
        json!([
            self.key.as_str(),
            self.credential.as_str(),
            encrypted,
            self.status.list.as_str(),
            self.status.index,
            self.credential.number(),
            self.template.key.as_str(),
            self.template.credential.as_str(),
            self.owner.id(),
            self.owner_scope.user().map(UserId::as_str),
            self.owner_scope.organization().map(OrganizationId::as_str),
            self.owner_scope.generation_id().map(GenerationId::as_str),
            self.template.credential.number(),
        ])
    }
}

impl Copies {
    pub fn of(place: &TemporaryDeployment, made_at: Timestamp) -> Self {
        let mut link = Link::connect(place);
        let tables = [
            link.copying("api_keys", &value(0), &format!("old.id = {}", value(6))),
            link.copying("credentials", &value(1), &format!("old.id = {}", value(7))),
            link.copying("narrow_credentials", "", &format!("old.number = CAST({} AS BIGINT)", value(12))),
        ];
        let statements = tables.into_iter().flatten().collect();
        let size = link.size_of_lists();
        Self { link, made_at, statements, list: List { id: String::new(), size, used: size } }
    }

    pub fn insert(&mut self, batch: &[NewKey]) {
        let rows = Value::Array(batch.iter().map(NewKey::to_row).collect()).to_string();
        for statement in &self.statements {
            self.link.execute(statement, &rows);
        }
    }

    /// Assigns an index to the next copy.
    pub fn assign_index(&mut self) -> StatusListIndex {
        let list = &mut self.list;
        if list.used >= list.size / 2 {
            let id = StatusListId::generate(self.made_at, &SystemEntropy::default()).expect("randomness");
            *list = List { id: id.as_str().to_owned(), size: list.size, used: 0 };
            let new = "INSERT INTO status_lists (id, kind, size, used, created_at) \
                       SELECT $1, kind, size, size / 2, created_at FROM status_lists WHERE kind = 'credential' LIMIT 1";
            self.link.execute(new, &list.id);
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
