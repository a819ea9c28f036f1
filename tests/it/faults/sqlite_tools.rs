//! Tools with an older SQLite than that of Keyswap read and copy the database of a running server.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{process::Deployment, tables};
use crate::support::Kind;

const READER: &str = include_str!("read_database.py");

/// Words of SQL that are newer than SQLite 3.40, with the version that introduced them. `ORDER`
/// occurs in the schema only in an aggregate.
const NEWER: &[(&str, &str)] = &[
    ("ORDER", "3.44 in an aggregate"),
    ("STRING_AGG", "3.44"),
    ("CONCAT", "3.44"),
    ("CONCAT_WS", "3.44"),
    ("UNHEX", "3.41"),
    ("TIMEDIFF", "3.43"),
    ("OCTET_LENGTH", "3.43"),
    ("JSON_ERROR_POSITION", "3.42"),
    ("JSONB", "3.45"),
    ("JSONB_GROUP_ARRAY", "3.45"),
    ("JSONB_GROUP_OBJECT", "3.45"),
    ("JSON_PRETTY", "3.46"),
    ("MEDIAN", "3.47"),
    ("UNISTR", "3.50"),
];

/// The words of a file of SQL in upper case, without its comments.
fn words(sql: &str) -> Vec<String> {
    let code: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let is_word = |at: char| at.is_ascii_alphanumeric() || at == '_';
    code.join("\n").split(|at| !is_word(at)).map(str::to_ascii_uppercase).collect()
}

fn newer_words(sql: &str) -> Vec<&'static str> {
    let found = words(sql);
    NEWER.iter().filter(|(word, _)| found.iter().any(|other| other == word)).map(|(word, _)| *word).collect()
}

#[test]
fn the_schema_needs_no_sqlite_after_3_40() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let mut files = 0;
    for step in fs::read_dir(root).unwrap() {
        let up = step.unwrap().path().join("up.sql");
        let newer = newer_words(&fs::read_to_string(&up).unwrap());
        assert!(newer.is_empty(), "{} uses {newer:?}, which Debian 12 (SQLite 3.40) cannot parse", up.display());
        files += 1;
    }
    assert!(files > 0);
    let planted = "-- string_agg\nSELECT json_group_array(x ORDER BY y), string_agg(a, ' '), group_concat(b) FROM t";
    assert_eq!(newer_words(planted), ["ORDER", "STRING_AGG"]);
}

/// A query of all rows of each view and of the audit log, as text.
fn queries(deployment: &Deployment) -> BTreeMap<String, String> {
    let names = tables::views(deployment).into_iter().chain(["events".to_owned(), "credentials".to_owned()]);
    let query = |name: &String| {
        let columns = tables::lines(deployment, &format!("SELECT name AS line FROM pragma_table_info('{name}')"));
        let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
        format!("SELECT {} AS line FROM {name} ORDER BY 1", quoted.join(" || ',' || "))
    };
    names.map(|name| (name.clone(), query(&name))).collect()
}

#[test]
fn tools_of_the_system_read_and_copy_a_running_database() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        for (path, body) in [
            ("/v1/permissions/docs:read", json!({ "assignable_to": ["user", "organization"] })),
            ("/v1/permissions/docs:edit", json!({ "assignable_to": ["user", "organization"] })),
            ("/v1/roles/editor", json!({ "permissions": ["docs:edit", "docs:read"] })),
            ("/v1/organizations/acme", json!({ "name": "Acme" })),
            ("/v1/users/ada", json!({ "roles": ["editor"] })),
            ("/v1/organizations/acme/members/ada", json!({ "roles": ["editor"] })),
        ] {
            let response = server.call(&admin, "PUT", path, Some(body)).await;
            assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        }
        let (id, _) = server.key(&admin).await;
        let record = json!({
            "name": "docs",
            "principals": [{ "type": "user", "id": "ada" }, { "type": "api_key", "id": id }],
            "statements": [
                { "roles": ["editor"], "resources": ["/docs/*"] },
                { "roles": ["editor"], "resources": ["/drafts/*", "/notes/*"] },
            ],
        });
        let response = server.call(&admin, "POST", "/v1/access-records", Some(record)).await;
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());

        let queries = queries(&deployment);
        let copies = tempfile::tempdir().unwrap();
        let database = deployment.database.url.strip_prefix("sqlite://").unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", READER, database]).arg(copies.path()).arg(json!(queries).to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        eprintln!("SQLite {}", read["version"]);
        let results = read["results"].as_object().unwrap();
        assert_eq!(results.len(), 4, "{results:?}");
        for (name, query) in &queries {
            let expected = tables::lines(&deployment, query);
            assert!(!expected.is_empty(), "{name} has no row");
            for (of, lines) in results {
                assert_eq!(lines[name.as_str()], json!(expected), "{name} of {of}");
            }
        }
        server.stop();
    });
}
