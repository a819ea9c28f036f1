//! Captures statements and checks their query plans.

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

/// Tables that stay small for any number of customers. All others grow, and `fill` must fill them.
const SMALL: [&str; 20] = [
    "__diesel_schema_migrations",
    "sqlite_master",
    "master_keys",
    "signing_keys",
    "permissions",
    "roles",
    "role_permissions",
    "audiences",
    "event_chain_head",
    "replicas",
    "replica_heartbeats",
    "clock_monitor",
    // One row per minute of the longest token lifetime.
    "signing_key_tokens",
    "webhooks",
    // One row per 65,536 credentials.
    "status_lists",
    "status_list_tokens",
    "status_list_build",
    // A few rows per hour, for one hundred days.
    "exchange_counts",
    "branding",
    // A job removes the rows as they are added.
    "owner_deletions",
];

/// Statements that may read a whole table, with the reason.
const MAY_READ_ALL: [(&str, &str); 21] = [
    ("signing_key_manifest", "a dozen signing keys, with the one row of their manifest"),
    ("SELECT COUNT(*) FROM `api_keys`", "an operator's overview counts them, not more than twice a minute, by indexes"),
    ("SELECT COUNT(*) FROM \"api_keys\"", "the same"),
    (
        "SELECT id, status_list, status_index FROM credentials WHERE key_id IN",
        "an index of nothing but the dead, all of it",
    ),
    (
        "`users` WHERE ((`users`.`blocked_at` IS NOT NULL) OR (`users`.`locked_at` IS NOT NULL))",
        "an index of nothing but the blocked and the locked, all of it",
    ),
    // With an index on this column of four values, SQLite, which does not count rows, would choose
    // it over the index on the organization.
    ("`deleted_at` IS NULL) AND (`api_keys`.`owner_type` = ?)", "of four types, each fills a page soon"),
    ("\"deleted_at\" IS NULL) AND (\"api_keys\".\"owner_type\" = $1)", "the same"),
    ("`events`.`kind` IN (?, ?)", "several types in the order of the audit log: a follower begins near its end"),
    ("\"events\".\"kind\" = ANY($2)", "the same; where the types are rare, PostgreSQL knows and takes their index"),
    ("`webhook_deliveries`.`finished_at` >= ?", "only what has ended lately is looked through"),
    ("\"webhook_deliveries\".\"finished_at\" >= $3", "the same"),
    (
        "min(\"webhook_deliveries\".\"created_at\")",
        "the oldest one that waits; if most of them wait, PostgreSQL reads them all",
    ),
    (
        "`organizations`.`generation_id` IS NULL)",
        "a job throws away what deleted organizations left behind, now and then",
    ),
    ("\"organizations\".\"generation_id\" IS NULL)", "the same"),
    (
        "rate_limit_windows` WHERE (`rate_limit_windows`.`minute` <",
        "a job throws away old windows: a row for each key with a limit",
    ),
    ("rate_limit_windows\" WHERE (\"rate_limit_windows\".\"minute\" <", "the same"),
    ("FROM `access_records` WHERE  NOT (", "a job throws away what deleted organizations left behind, now and then"),
    ("FROM \"access_records\" WHERE  NOT (", "the same"),
    ("LEFT OUTER JOIN `credentials`", "the background check of all rows looks for keys without credentials"),
    ("LEFT OUTER JOIN \"credentials\"", "the same"),
    ("' ' || permissions || ' '", "an operator takes a permission away, and asks first who has it"),
];

/// The table aliases in the views.
const ALIASES: [(&str, &str); 11] = [
    ("k", "api_keys"),
    ("s", "service_clients"),
    ("u", "users"),
    ("v", "users"),
    ("m", "members"),
    ("o", "organizations"),
    ("c", "members"),
    ("r", "roles"),
    ("p", "permissions"),
    ("g", "role_permissions"),
    ("q", "user_roles"),
];

/// Statements, each with the parameters of one execution.
type Statements = BTreeMap<String, String>;

/// By database URL, so that tests in one process do not capture each other's statements.
static CAUGHT: Mutex<BTreeMap<String, Statements>> = Mutex::new(BTreeMap::new());

/// Captures the statements of one connection.
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

/// The beginning of the URL with which connections to a database are opened.
fn url_of(database: &Database) -> String {
    database.url.trim_start_matches("sqlite://").to_owned()
}

/// Captures the statements of connections that are opened from now on.
pub fn watch(database: &Database) {
    CAUGHT.lock().unwrap().insert(url_of(database), Statements::new());
    set_default_instrumentation(|| Some(Box::<Catcher>::default())).unwrap();
}

/// Asserts that every captured statement uses an index on every growing table.
pub async fn check(server: &Server) {
    let caught = CAUGHT.lock().unwrap().remove(&url_of(&server.database)).unwrap();
    let kind = server.database.kind;
    let statements: Vec<_> = caught.into_iter().filter(|(text, _)| is_planned(text)).collect();
    assert!(statements.len() > 60, "only {} statements were caught: {statements:#?}", statements.len());
    let faults = server.services.store.read(move |connection| {
        let mut faults = String::new();
        for (statement, values) in &statements {
            let mut plan = any_plan(connection, statement);
            if let (Conn::Postgres(inner), true) = (&mut *connection, reads_all(kind, statement, &plan)) {
                // PostgreSQL uses a generic plan only if it costs no more than the custom plans.
                plan = plan_for(inner, statement, values).unwrap_or(plan);
            }
            if std::env::var_os("KEYSWAP_SHOW_PLANS").is_some() {
                eprintln!("{statement}\n    {}", plan.join("\n    "));
            }
            if reads_all(kind, statement, &plan) && !MAY_READ_ALL.iter().any(|(part, _)| statement.contains(part)) {
                writeln!(faults, "{statement}\n    {}", plan.join("\n    ")).unwrap();
            }
        }
        Ok::<_, StoreError>(faults)
    });
    let faults = faults.await.unwrap();
    assert!(faults.is_empty(), "these read whole tables:\n{faults}");
}

/// Excludes queries that select nothing: `IN ()` is written as `1=0`.
fn is_planned(statement: &str) -> bool {
    let reads = ["SELECT", "UPDATE", "DELETE", "WITH"].iter().any(|word| statement.starts_with(word));
    let gives_rows = [" FROM json_", " FROM unnest("].iter().any(|rows| statement.contains(rows));
    (reads || statement.starts_with("INSERT INTO") && gives_rows)
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

/// The generic plan, for any parameters.
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

/// The custom plan for the captured parameters, if they can be parsed.
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
    // PostgreSQL cannot infer the element types of these arrays.
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

/// Whether a plan reads all of a growing table: row by row, or through an index without the columns
/// that the statement compares.
fn reads_all(kind: Kind, statement: &str, plan: &[String]) -> bool {
    (0..plan.len()).any(|at| match kind {
        Kind::Sqlite => reads_all_on_sqlite(statement, &plan[at]),
        Kind::Postgres => reads_all_on_postgres(&plan[at], &plan[at + 1..]),
    })
}

fn reads_all_on_sqlite(statement: &str, line: &str) -> bool {
    let (rest, scans) = match (line.strip_prefix("SCAN "), line.strip_prefix("SEARCH ")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return false,
    };
    let table = rest.split(' ').next().unwrap_or_default();
    if !grows(table) {
        return false;
    }
    // A page of all rows is read in the order of an index, up to the size of the page.
    let is_page = rest.contains(" USING ") && statement.contains("LIMIT");
    let is_asked_for = asks_for_equals(statement, table) && !rest.contains("=?");
    scans && !is_page || is_asked_for
}

/// Whether the statement selects rows by equality with a column of the table.
fn asks_for_equals(statement: &str, table: &str) -> bool {
    let Some((_, conditions)) = statement.split_once(" WHERE ") else { return false };
    conditions.match_indices(&format!("`{table}`.`")).any(|(at, found)| {
        let rest = &conditions[at + found.len()..];
        let after = rest.split_once('`').map_or("", |(_, after)| after);
        after.starts_with(" = ?") || after.starts_with(" IN (?")
    })
}

fn reads_all_on_postgres(line: &str, below: &[String]) -> bool {
    let table_after = |words: &str| {
        line.split_once(words).map(|(_, rest)| rest.split(' ').next().unwrap_or_default()).filter(|table| grows(table))
    };
    if table_after("Seq Scan on ").is_some() {
        return true;
    }
    let is_by_index = line.contains("Index Scan ") || line.contains("Index Only Scan ");
    if !is_by_index || table_after(" on ").is_none() {
        return false;
    }
    // The details of the scan itself, up to the next node or to a detail of an outer node.
    let depth = |text: &str| text.len() - text.trim_start().len();
    let own = below.iter().take_while(|text| !text.contains("->") && depth(text) > depth(line));
    let (mut found_by, mut filtered_by) = ("", "");
    for text in own {
        if let Some((_, condition)) = text.split_once("Index Cond: ") {
            found_by = condition;
        } else if let Some((_, condition)) = text.split_once("Filter: ") {
            filtered_by = condition;
        }
    }
    let asks =
        |condition: &str| condition.contains(" = $") || condition.contains(" = ANY (") || condition.contains(" = '");
    asks(filtered_by) && !found_by.contains(" = ")
}

fn grows(table: &str) -> bool {
    let table = ALIASES.iter().find(|(alias, _)| *alias == table).map_or(table, |(_, table)| table);
    let is_no_table = ["CONSTANT", "given", "used", "json_each"].contains(&table);
    !is_no_table && !SMALL.contains(&table)
}
