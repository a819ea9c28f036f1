//! `keyswap backup`: the copy of a database under load is complete, a failure leaves nothing, and a
//! server on the copy accepts the keys of its time.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::UNIX_EPOCH,
};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;

use super::{
    process::{Deployment, LONG, Process, ProcessOutput, Running, each, until},
    tables,
};
use crate::support::{Database, Kind};

/// The PATH with the programs of the PostgreSQL server of the tests.
fn path() -> String {
    let own = std::env::var("PATH").unwrap();
    std::env::var("KEYSWAP_TEST_PGBIN").map_or(own.clone(), |programs| format!("{programs}:{own}"))
}

/// Runs `keyswap backup` with these arguments.
fn backup(deployment: &Deployment, args: &[&str]) -> ProcessOutput {
    let mut command = deployment.command(&[&["backup"][..], args].concat());
    command.env("PATH", path());
    Process::spawn(command).end(LONG)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Creates keys until `stop` is set, and returns how many there are.
async fn create_keys(server: &Running, admin: &str, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        server.key(admin).await;
        count += 1;
    }
    count
}

/// A new deployment with the master keys of `from` and the content of its backup.
fn restore(from: &Deployment, file: &Path) -> Deployment {
    let restored = Deployment::new(from.database.kind);
    fs::create_dir_all(restored.keys()).unwrap();
    for name in ["master.1", "administrator.key"] {
        // `fs::copy` also copies the file mode.
        fs::copy(from.keys().join(name), restored.keys().join(name)).unwrap();
    }
    match restored.database.url.strip_prefix("sqlite://") {
        Some(path) => {
            fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            fs::copy(file, path).unwrap();
        }
        None => {
            let mut command = Command::new("pg_restore");
            command.env("PATH", path()).arg(format!("--dbname={}", restored.database.url)).arg(file);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    restored
}

each! {
    async fn a_backup_under_load_is_complete_and_can_be_restored(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("it's a backup");
        // What an interrupted backup has left, and the files of two that may run: here, and in a
        // container whose process has a number that is free here.
        let running = format!("it's a backup.{}.tmp", std::process::id());
        for old in ["it's a backup.9999999.tmp", running.as_str()] {
            fs::File::create(directory.path().join(old)).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
        fs::write(directory.path().join("it's a backup.9999998.tmp"), "incomplete").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (said, count) = tokio::join!(
            async {
                let (stop, name) = (Arc::clone(&stop), file.display().to_string());
                let deployment = deployment.with(&[]);
                tokio::task::spawn_blocking(move || {
                    let said = backup(&deployment, &[&name, "--json"]);
                    stop.store(true, Ordering::Relaxed);
                    said
                })
                .await
                .unwrap()
            },
            create_keys(&server, &admin, &stop),
        );
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(count > 0, "changes were not blocked");
        let mut expected = vec!["it's a backup".to_owned(), "it's a backup.9999998.tmp".to_owned(), running];
        expected.sort();
        assert_eq!(names(directory.path()), expected);
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["size"], metadata.len());
        let keys = [deployment.keys().join("master.1").display().to_string()];
        assert_eq!(report["master_key_files"], serde_json::json!(keys));

        // An existing file is kept, unless it is to be replaced.
        let name = file.display().to_string();
        let refused = backup(&deployment, &[&name]);
        assert!(refused.code == Some(1) && refused.err.contains("--force"), "{refused:?}");
        assert_eq!(fs::metadata(&file).unwrap().len(), metadata.len());
        let revoked = server.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await;
        assert_eq!(revoked.status(), 200);
        server.stop();

        let restored = restore(&deployment, &file);
        let last = tables::lines(&restored, "SELECT CAST(seq AS TEXT) AS line FROM event_chain_head");
        assert_eq!(last, [report["event_seq"].to_string()], "the number is that of the copy");
        let doctor = restored.run(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
        let server = restored.serve();
        assert!(server.knows(&admin).await);
        assert!(server.exchange_succeeds(&key).await, "the revocation came later");
        server.stop();

        // A replica that has seen the later state detects the rollback.
        fs::copy(deployment.keys().join("rollback_guard"), restored.keys().join("rollback_guard")).unwrap();
        let server = restored.serve();
        assert_eq!(server.exchange(&key).await.status(), 503);
        assert_eq!(restored.json(&["restore", "status"])["asks"], true);
        server.stop();
    }

    async fn a_backup_replaces_only_a_file_that_was_named_on_purpose(deployment: Deployment) {
        deployment.serve().stop();
        let before = tables::contents(&deployment);
        let directory = deployment.database.dir.path();
        let refuse = |name: &str, words: &str| {
            for args in [&[name][..], &[name, "--force"]] {
                let said = backup(&deployment, args);
                assert!(matches!(said.code, Some(1 | 2)) && said.err.contains(words), "{args:?}: {said:?}");
            }
        };
        refuse("-", "standard output");
        refuse(&directory.display().to_string(), "is a directory");
        refuse("/dev/null", "device");
        refuse(&deployment.keys().join("backup").display().to_string(), "contains the master keys");
        refuse(&directory.join("none/backup").display().to_string(), "failed to write");
        if let Some(path) = deployment.database.url.strip_prefix("sqlite://") {
            refuse(path, "part of the database itself");
        }
        assert_eq!(tables::contents(&deployment), before);

        let file = directory.join("backup").display().to_string();
        fs::write(&file, "an earlier backup").unwrap();
        let said = backup(&deployment, &[&file, "--force"]);
        assert!(said.code == Some(0) && said.out.contains("useless without the master keys"), "{said:?}");
        assert_ne!(fs::read(&file).unwrap(), b"an earlier backup");
    }

    async fn a_full_disk_leaves_no_backup(deployment: Deployment) {
        let server = deployment.serve();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("backup");
        let command = deployment.command(&["backup", file.to_str().unwrap()]);
        // If SIGXFSZ is ignored, a write beyond the limit fails with an error, as on a full disk.
        // The limit is 8 KiB, or 64 KiB on SQLite, whose shared memory is a file of 32 KiB.
        let blocks = if deployment.database.kind == Kind::Sqlite { 128 } else { 16 };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
        shell.arg(command.get_program()).args(command.get_args()).env("PATH", path());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = Process::spawn(shell).end(LONG);
        assert!(said.code == Some(1) && said.err.contains("no backup was written"), "{said:?}");
        assert_eq!(names(directory.path()), Vec::<String>::new());
        server.stop();
    }
}

/// A directory with a program `pg_dump` that records its arguments and its environment, and then
/// does something.
fn fake_pg_dump(version: &str, action: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("pg_dump");
    let script = format!(
        "#!/bin/sh\ncd {}\nenv >> environment\n\
         if [ \"$1\" = --version ]; then echo 'pg_dump (PostgreSQL) {version} (Debian)'; exit; fi\n\
         printf '%s\\n' \"$@\" > arguments; echo incomplete; {action}\n",
        directory.path().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Fails.
const NO_SPACE: &str = "echo 'no space left' >&2; exit 1";

/// Runs `keyswap backup` on `database`, with the password of the URL in the environment.
fn backup_with_programs(database: &Database, url: &str, path: &str) -> (ProcessOutput, PathBuf) {
    let (process, directory) = start_backup(database, url, path);
    (process.end(LONG), directory)
}

/// Like `backup_with_programs`, without waiting for the end.
fn start_backup(database: &Database, url: &str, path: &str) -> (Process, PathBuf) {
    let directory = database.dir.path().join("backups");
    fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    command.arg("backup").arg(directory.join("keyswap.dump")).env("KEYSWAP__DATABASE__URL", url).env("PATH", path);
    command.current_dir(database.dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (Process::spawn(command), directory)
}

#[tokio::test]
async fn a_signal_ends_pg_dump_and_leaves_nothing() {
    let database = Database::new(Kind::Postgres);
    for stop in [Signal::TERM, Signal::INT] {
        let programs = fake_pg_dump("99.1", "echo $$ > started; mv started number; exec sleep 600");
        let path = format!("{}:{}", programs.path().display(), path());
        let (process, directory) = start_backup(&database, &database.url, &path);
        let number = programs.path().join("number");
        until("pg_dump runs", LONG, || async { number.exists() }).await;
        assert_eq!(names(&directory).len(), 1, "the incomplete file");
        process.signal(stop);
        let said = process.end(LONG);
        assert!(said.code == Some(1) && said.err.contains("stopped by a signal; no backup was written"), "{said:?}");
        assert_eq!(names(&directory), Vec::<String>::new());
        let number = Pid::from_raw(fs::read_to_string(number).unwrap().trim().parse().unwrap()).unwrap();
        assert!(test_kill_process(number).is_err(), "pg_dump has ended");
    }
}

#[test]
fn pg_dump_gets_the_password_in_its_environment_only() {
    let database = Database::new(Kind::Postgres);
    let (start, rest) = database.url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let url = format!("{start}:se%2Fcret@{address},{address}/{name}?sslmode=prefer&password=p%40ss");
    let programs = fake_pg_dump("99.1", NO_SPACE);
    let (said, directory) = backup_with_programs(&database, &url, &format!("{}:{}", programs.path().display(), path()));
    assert!(said.code == Some(1) && said.err.contains("no space left"), "{said:?}");
    assert!(!said.err.contains("p@ss") && !said.err.contains("se%2F"), "{said:?}");
    assert_eq!(names(&directory), Vec::<String>::new(), "a failed dump leaves nothing");
    let recorded = |name: &str| fs::read_to_string(programs.path().join(name)).unwrap();
    let arguments = recorded("arguments");
    let expected = format!("--dbname={start}@{address},{address}/{name}?sslmode=prefer\n");
    assert!(arguments.contains(&expected), "{arguments}");
    assert!(arguments.contains("--format=custom\n") && arguments.contains("--snapshot="), "{arguments}");
    for secret in ["p@ss", "p%40ss", "se%2Fcret", "se/cret"] {
        assert!(!arguments.contains(secret), "{arguments}");
    }
    let environment = recorded("environment");
    assert!(environment.lines().any(|line| line == "PGPASSWORD=p@ss"), "{environment}");
    assert!(environment.lines().any(|line| line == "PGTARGETSESSIONATTRS=read-write"), "{environment}");
    assert!(!environment.contains("KEYSWAP__"), "{environment}");
}

#[test]
fn a_missing_or_older_pg_dump_is_named_with_its_package() {
    let database = Database::new(Kind::Postgres);
    let nowhere = tempfile::tempdir().unwrap();
    let (said, directory) = backup_with_programs(&database, &database.url, &nowhere.path().display().to_string());
    assert!(said.code == Some(1) && said.err.contains("failed to run pg_dump"), "{said:?}");
    assert!(said.err.contains("postgresql-client-"), "{said:?}");
    let older = fake_pg_dump("9.6.24", NO_SPACE);
    let (said, _) = backup_with_programs(&database, &database.url, &format!("{}:{}", older.path().display(), path()));
    assert!(said.code == Some(1) && said.err.contains("version 9, which is older than the server"), "{said:?}");
    assert_eq!(names(&directory), Vec::<String>::new());
}
