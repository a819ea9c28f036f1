//! Statements caught on their way to the database, and how the database would carry them out.

use std::{collections::BTreeMap, fmt::Write, sync::Mutex};

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::{Instrumentation, InstrumentationEvent, SimpleConnection, set_default_instrumentation},
    sql_query,
    sql_types::Text,
};
use keyswap::store::{Conn, StoreError};
use serde_json::Value;

use crate::support::{Database, Kind, Server};

/// Tables that stay small however many customers there are. Every other one grows, and `fill` must fill it.
const SMALL: [&str; 10] = [
    "__diesel_schema_migrations",
    "sqlite_master",
    "master_keys",
    "signing_keys",
    "permissions",
    "roles",
    "audiences",
    "event_head",
    "webhooks",
    // Emptied by a job as it fills.
    "departures",
];

/// Statements that may read a whole table, and why.
const MAY_READ_ALL: [(&str, &str); 8] = [
    (
        "`organizations`.`incarnation` IS NULL)",
        "a job throws away what deleted organizations left behind, now and then",
    ),
    ("\"organizations\".\"incarnation\" IS NULL)", "the same"),
    ("key_windows` WHERE (`key_windows`.`minute` <", "a job throws away old windows: a row for each key with a limit"),
    ("key_windows\" WHERE (\"key_windows\".\"minute\" <", "the same"),
    ("FROM `access_records` WHERE  NOT (", "a job throws away what deleted organizations left behind, now and then"),
    ("FROM \"access_records\" WHERE  NOT (", "the same"),
    ("' ' || roles || ' '", "an operator takes a role away, and asks first who has it"),
    ("' ' || permissions || ' '", "an operator takes a permission away, and asks first who has it"),
];

/// What the view `key_standings` calls its tables.
const ALIASES: [(&str, &str); 8] = [
    ("k", "api_keys"),
    ("s", "service_clients"),
    ("u", "users"),
    ("m", "members"),
    ("o", "organizations"),
    ("c", "members"),
    ("r", "roles"),
    ("p", "permissions"),
];

/// Statements, and the values that one came with.
type Statements = BTreeMap<String, String>;

/// By the URL of the database: tests in one process do not hear each other.
static CAUGHT: Mutex<BTreeMap<String, Statements>> = Mutex::new(BTreeMap::new());

/// Listens to one connection.
#[derive(Default)]
struct Catcher {
    url: String,
}

impl Instrumentation for Catcher {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => url.clone_into(&mut self.url),
            InstrumentationEvent::StartQuery { query, .. } => {
                let text = query.to_string();
                let (statement, values) = text.split_once("-- binds:").unwrap_or((&text, ""));
                let mut all = CAUGHT.lock().unwrap();
                if let Some((_, caught)) = all.iter_mut().find(|(url, _)| self.url.starts_with(*url)) {
                    caught.entry(statement.trim().to_owned()).or_insert_with(|| values.trim().to_owned());
                }
            }
            _ => {}
        }
    }
}

/// What connections to a database are made with, up to what is added to it.
fn url_of(database: &Database) -> String {
    database.url.trim_start_matches("sqlite://").to_owned()
}

/// Connections that are made from now on are listened to.
pub fn watch(database: &Database) {
    CAUGHT.lock().unwrap().insert(url_of(database), Statements::new());
    set_default_instrumentation(|| Some(Box::<Catcher>::default())).unwrap();
}

/// Every statement that was caught uses an index wherever a table grows.
pub async fn check(server: &Server) {
    let caught = CAUGHT.lock().unwrap().remove(&url_of(&server.database)).unwrap();
    let kind = server.database.kind;
    let statements: Vec<_> = caught.into_iter().filter(|(text, _)| is_planned(text)).collect();
    assert!(statements.len() > 60, "only {} statements were caught: {statements:#?}", statements.len());
    let faults = server.app.store.read(move |connection| {
        let mut faults = String::new();
        for (statement, values) in &statements {
            let mut plan = any_plan(connection, statement);
            if let (Conn::Postgres(inner), true) =
                (&mut *connection, plan.iter().any(|line| reads_all(kind, statement, line)))
            {
                // PostgreSQL takes a plan for any values only where it costs no more than one for those that there are.
                plan = plan_for(inner, statement, values).unwrap_or(plan);
            }
            if std::env::var_os("KEYSWAP_SHOW_PLANS").is_some() {
                eprintln!("{statement}\n    {}", plan.join("\n    "));
            }
            let reads_all = plan.iter().any(|line| reads_all(kind, statement, line));
            if reads_all && !MAY_READ_ALL.iter().any(|(part, _)| statement.contains(part)) {
                writeln!(faults, "{statement}\n    {}", plan.join("\n    ")).unwrap();
            }
        }
        Ok::<_, StoreError>(faults)
    });
    let faults = faults.await.unwrap();
    assert!(faults.is_empty(), "these read whole tables:\n{faults}");
}

/// Not where nothing is asked for: `IN ()` is written as `1=0`.
fn is_planned(statement: &str) -> bool {
    let reads = ["SELECT", "UPDATE", "DELETE", "WITH"].iter().any(|word| statement.starts_with(word));
    (reads || statement.starts_with("INSERT INTO") && statement.contains(" FROM json_"))
        && !statement.contains("pragma_")
        && !statement.contains("(1=0)")
}

#[derive(QueryableByName)]
struct Detail {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

/// For any values.
fn any_plan(connection: &mut Conn, statement: &str) -> Vec<String> {
    match connection {
        Conn::Sqlite(inner) => {
            let lines: Vec<Detail> = sql_query(format!("EXPLAIN QUERY PLAN {statement}"))
                .load(inner)
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
            lines.into_iter().map(|line| line.detail).collect()
        }
        Conn::Postgres(inner) => {
            let parameters = (1..).take_while(|number| statement.contains(&format!("${number}"))).count();
            explained(inner, "force_generic_plan", statement, &vec!["NULL".to_owned(); parameters])
        }
    }
}

/// For the values it came with, where they can be read.
fn plan_for(connection: &mut PgConnection, statement: &str, values: &str) -> Option<Vec<String>> {
    let values: Vec<Value> = serde_json::from_str(values).ok()?;
    let literals = values.iter().map(literal).collect::<Option<Vec<_>>>()?;
    Some(explained(connection, "force_custom_plan", statement, &literals))
}

fn literal(value: &Value) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(quoted(text)),
        Value::Array(all) => {
            let all = all.iter().map(literal).collect::<Option<Vec<_>>>()?;
            (!all.is_empty()).then(|| format!("ARRAY[{}]", all.join(", ")))
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

fn explained(connection: &mut PgConnection, mode: &str, statement: &str, values: &[String]) -> Vec<String> {
    // What an array holds follows from nothing but the names it is given.
    let statement = statement
        .replace("unnest($1, $2)", "unnest($1::TEXT[], $2::BIGINT[])")
        .replace("unnest($1, $2, $3)", "unnest($1::TEXT[], $2::BIGINT[], $3::BIGINT[])");
    let setup = format!("SET plan_cache_mode = {mode}; PREPARE planned AS {statement}");
    connection.batch_execute(&setup).unwrap_or_else(|error| panic!("{statement}: {error}"));
    let call = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let lines: Vec<Line> = sql_query(format!("EXPLAIN EXECUTE planned{call}")).load(connection).unwrap();
    connection.batch_execute("DEALLOCATE planned; RESET plan_cache_mode").unwrap();
    lines.into_iter().map(|line| line.line).collect()
}

/// Whether a line of a plan goes through all of a table that grows.
fn reads_all(kind: Kind, statement: &str, line: &str) -> bool {
    let (table, in_order) = match kind {
        Kind::Sqlite => {
            let Some(rest) = line.strip_prefix("SCAN ") else { return false };
            (rest.split(' ').next().unwrap_or_default(), rest.contains(" USING "))
        }
        Kind::Postgres => {
            let Some((_, rest)) = line.split_once("Seq Scan on ") else { return false };
            (rest.split(' ').next().unwrap_or_default(), false)
        }
    };
    let table = ALIASES.iter().find(|(alias, _)| *alias == table).map_or(table, |(_, table)| table);
    // A page of everything is read in the order of an index, and no further than the page goes.
    let is_page = in_order && statement.contains("LIMIT");
    let is_no_table = table == "CONSTANT" || table == "given" || table == "used" || table == "json_each";
    !is_page && !is_no_table && !SMALL.contains(&table)
}
