//! The side effects, output and exit codes of commands, and the schema that the migrations create
//! on both databases.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{
    process::{Deployment, LONG, Process, each},
    tables,
};
use crate::support::Kind;

#[test]
fn commands_never_create_a_database() {
    let deployment = Deployment::new(Kind::Sqlite);
    let file = deployment.keys();
    fs::write(deployment.database.dir.path().join("key.pem"), "x").unwrap();
    let pem = deployment.database.dir.path().join("key.pem").display().to_string();
    let backup = deployment.database.dir.path().join("backup.db").display().to_string();
    for command in [
        &["api-key", "list"][..],
        &["api-key", "create", "--name", "n"],
        &["api-key", "show", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        &["signing-key", "list"],
        &["signing-key", "rotate"],
        &["signing-key", "import", &pem],
        &["master-key", "status"],
        &["migrate", "--status"],
        &["doctor"],
        &["backup", &backup],
    ] {
        let said = deployment.run(command);
        assert_eq!(said.code, Some(1), "{command:?}: {said:?}");
        assert!(format!("{}{}", said.out, said.err).contains("there is no database at"), "{command:?}: {said:?}");
        assert!(!deployment.database.dir.path().join("data").exists(), "{command:?}");
        assert!(!file.exists(), "{command:?}");
    }
}

each! {
    async fn inspecting_an_unrelated_database_changes_nothing(deployment: Deployment) {
        let path = deployment.database.url.clone();
        if let Some(path) = path.strip_prefix("sqlite://") {
            fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        }
        deployment.database.sql("CREATE TABLE theirs (id INTEGER)");
        let file = deployment.database.dir.path().join("backup").display().to_string();
        let backup = &["backup", &file][..];
        for command in [&["migrate", "--status"][..], &["api-key", "list"], &["doctor"], &["master-key", "status"], backup]
        {
            let _ = deployment.run(command);
            let sqlite = "SELECT name AS line FROM sqlite_master";
            let postgres = "SELECT tablename::TEXT AS line FROM pg_tables WHERE schemaname = 'public'";
            let query = if deployment.database.kind == Kind::Sqlite { sqlite } else { postgres };
            assert_eq!(tables::lines(&deployment, query), ["theirs"], "{command:?}");
        }
        let said = deployment.run(backup);
        assert!(said.code == Some(1) && said.err.contains("no tables of Keyswap"), "{said:?}");
        assert!(!fs::exists(&file).unwrap());
    }

    async fn migrations_are_listed_and_can_be_reverted(deployment: Deployment) {
        if deployment.database.kind == Kind::Postgres {
            let status = deployment.json(&["migrate", "--status"]);
            assert_eq!(status["applied"].as_array().unwrap().len(), 0);
            assert!(!status["pending"].as_array().unwrap().is_empty());
        }
        assert_eq!(deployment.run(&["migrate"]).code, Some(0));
        let status = deployment.json(&["migrate", "--status"]);
        assert!(status["pending"].as_array().unwrap().is_empty());
        let said = deployment.run(&["api-key", "list"]);
        assert!(said.code == Some(1) && said.err.contains("start `keyswap serve` once"), "{said:?}");
        let before = schema(&deployment);
        tables::start_over(&deployment);
        assert_eq!(schema(&deployment), before);
        tables::down(&deployment);
        let said = deployment.run(&["api-key", "list"]);
        assert!(said.code == Some(1) && said.err.contains("run `keyswap migrate`"), "{said:?}");
        deployment.database.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')");
        for command in ["serve", "migrate"] {
            let said = deployment.run(&[command]);
            assert!(said.code == Some(1) && said.err.contains("newer version of Keyswap"), "{command}: {said:?}");
        }
    }
}

#[test]
fn both_databases_have_the_same_schema() {
    let [sqlite, postgres] = [Kind::Sqlite, Kind::Postgres].map(|kind| {
        let deployment = Deployment::new(kind);
        assert_eq!(deployment.run(&["migrate"]).code, Some(0));
        schema(&deployment)
    });
    assert!(sqlite.len() > 80, "tables, columns and indexes were found: {}", sqlite.len());
    assert!(sqlite.iter().any(|line| line.starts_with("key_owner_status.owner_type ")), "views were found");
    assert_eq!(sqlite, postgres);
}

/// One line for each column of a table or view (name, type, nullability, primary key) and for each
/// index. An INTEGER of SQLite has up to 64 bits, and as a primary key it is the key of the table
/// itself, unlike a BIGINT.
fn schema(deployment: &Deployment) -> Vec<String> {
    let mut all = Vec::new();
    for table in tables::names(deployment).into_iter().chain(tables::views(deployment)) {
        let (columns, indexes) = match deployment.database.kind {
            Kind::Sqlite => (
                // SQLite knows no type of an expression in a view; those of Keyswap are times, flags and texts.
                format!(
                    "SELECT '{table}.' || name || ' ' || (CASE WHEN type IN ('', 'BLOB') AND EXISTS (SELECT 1 FROM sqlite_master \
                     WHERE type = 'view' AND name = '{table}') THEN CASE WHEN name LIKE '%\\_at' ESCAPE '\\' THEN 'BIGINT' WHEN name LIKE 'has\\_%' ESCAPE '\\' THEN 'INTEGER' ELSE 'TEXT' END ELSE type END) || ' ' || \
                     (CASE \"notnull\" WHEN 1 THEN 'NOT NULL' ELSE '' END) || ' pk' || pk AS line FROM pragma_table_info('{table}')"
                ),
                format!(
                    "SELECT '{table} ' || l.name || ' unique' || l.\"unique\" || ' partial' || l.partial || ' ' || \
                     (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY seqno)) AS line \
                     FROM pragma_index_list('{table}') AS l WHERE l.origin = 'c'"
                ),
            ),
            Kind::Postgres => (
                format!(
                    "SELECT '{table}.' || a.attname || ' ' || upper(format_type(a.atttypid, NULL)) || ' ' || \
                     (CASE WHEN a.attnotnull THEN 'NOT NULL' ELSE '' END) || ' pk' || \
                     COALESCE(array_position(i.indkey::int2[], a.attnum) + 1, 0) AS line FROM pg_attribute a \
                     LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
                     WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped"
                ),
                format!(
                    "SELECT '{table} ' || c.relname || ' unique' || i.indisunique::INT || ' partial' || \
                     (i.indpred IS NOT NULL)::INT || ' ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) \
                     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
                     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) AS line \
                     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                     WHERE i.indrelid = '{table}'::regclass AND NOT i.indisprimary"
                ),
            ),
        };
        let of_both = |line: &String| {
            let line =
                line.replace("BYTEA", "BLOB").replace("number INTEGER NOT NULL pk1", "number BIGINT NOT NULL pk1");
            let line = line.replace("narrow_lookups.number INTEGER", "narrow_lookups.number BIGINT");
            // A BLOB of a view looks like an expression to SQLite.
            line.replace("narrow_lookups.encrypted_secret TEXT", "narrow_lookups.encrypted_secret BLOB")
        };
        all.extend(tables::lines(deployment, &columns).iter().map(of_both));
        all.extend(tables::lines(deployment, &indexes));
    }
    all.sort();
    all
}

#[test]
fn config_check_reports_all_faults() {
    let deployment = Deployment::new(Kind::Sqlite);
    assert_eq!(deployment.run(&["config", "check"]).code, Some(0));
    let file = deployment.database.dir.path().join("keyswap.toml");
    fs::write(
        &file,
        "[server]\npublic_url = \"keyswap.test\"\nbindd = 1\n[tokens]\ndefault_ttl = \"2h\"\n\
         [signing_keys]\nalgorithm = \"HS256\"\n[nowhere]\nx = 1\n[log]\nlevel = \"keyswap=loud\"\n",
    )
    .unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyswap"));
    command.args(["config", "check", "--config", file.to_str().unwrap(), "--set", "database.pool_size=0"]);
    command.env("KEYSWAP__BRUTE_FORCE__REFILL", "soon");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let said = Process::spawn(command).end(LONG);
    assert_eq!(said.code, Some(2), "{said:?}");
    for path in [
        "server.public_url: ",
        "server.bindd: unknown setting",
        "tokens.default_ttl: must not be longer than tokens.max_ttl",
        "signing_keys.algorithm: \"HS256\"",
        "nowhere: unknown setting",
        "log.level: ",
        "database.pool_size: ",
        "brute_force.refill: ",
    ] {
        assert!(said.err.contains(&format!("\n  {path}")), "{path}: {}", said.err);
    }
    let refused = deployment.with(&["signing_keys.algorithm=HS256"]);
    assert_eq!(refused.run(&["serve"]).code, Some(2), "the server refuses it the same way");
    assert!(!deployment.database.dir.path().join("data").exists(), "and makes nothing");
}

#[test]
fn usage_error_exits_with_2_and_failure_with_1() {
    let deployment = Deployment::new(Kind::Sqlite);
    for wrong in
        [&["nonsense"][..], &["serve", "--nonsense"], &["api-key", "show", "x"], &["serve", "--set", "no-equals-sign"]]
    {
        assert_eq!(deployment.run(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(deployment.with(&["database.url=mysql://x"]).run(&["serve"]).code, Some(2));
    // This command is offline: it refuses --config and --set, which `run` gives.
    assert_eq!(deployment.run(&["api-key", "inspect"]).code, Some(2));
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    assert_eq!(inspect.args(["api-key", "inspect"]).stdin(Stdio::null()).output().unwrap().status.code(), Some(1));
    let server = deployment.serve();
    let taken = format!("server.bind={}", server.base.strip_prefix("http://").unwrap());
    let said = deployment.with(&[&taken]).refuses();
    assert!(said.contains("failed to listen on"), "{said}");
    let unknown = deployment.run(&["api-key", "show", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("no such"), "{unknown:?}");
    server.stop();
}
