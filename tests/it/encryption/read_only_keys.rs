//! A directory of master keys that the server cannot write, such as a Secret of Kubernetes. The rollback guard is then
//! in memory.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{on_both, refused, rollback_guard::undo_restore};
use crate::{
    faults::{
        process::{Deployment, LONG, Process, ProcessOutput, until},
        tables,
    },
    support::{
        Kind,
        mount_namespaces::{as_ordinary_user, with_read_only},
    },
};

const IN_MEMORY: &str = "the rollback guard is in memory only";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Creates the first master key as Kubernetes lays out the files of a Secret: readable by the group of the process,
/// behind symbolic links.
fn provide_key(deployment: &Deployment) {
    let directory = deployment.keys();
    fs::create_dir_all(directory.join("..2026")).unwrap();
    let file = directory.join("..2026/master.1");
    fs::write(&file, STANDARD.encode([7; 32])).unwrap();
    chmod(&file, 0o440);
    symlink("..2026", directory.join("..data")).unwrap();
    symlink("..data/master.1", directory.join("master.1")).unwrap();
}

/// A deployment whose administrator key is outside of the key directory. Returns the file.
fn with_admin_file(deployment: &Deployment) -> (Deployment, PathBuf) {
    let file = deployment.database.dir.path().join("admin/key");
    (deployment.with(&[&format!("bootstrap.admin_key_file={}", file.display())]), file)
}

fn program(deployment: &Deployment, args: &[&str]) -> Command {
    with_read_only(&deployment.keys(), &deployment.command(args))
}

fn serve(deployment: &Deployment) -> Process {
    Process::spawn(program(deployment, &["serve"]))
}

fn run_command(deployment: &Deployment, args: &[&str]) -> ProcessOutput {
    Process::spawn(program(deployment, args)).end(LONG)
}

fn read_key(file: &Path) -> String {
    fs::read_to_string(file).unwrap().trim().to_owned()
}

on_both! {
    async fn server_runs_with_a_read_only_mount_and_detects_a_rollback(deployment: Deployment) {
        provide_key(&deployment);
        let (deployment, admin_file) = with_admin_file(&deployment);
        let server = serve(&deployment).ready();
        let admin = read_key(&admin_file);
        let (_, key) = server.key(&admin).await;
        assert!(server.exchange_succeeds(&key).await);
        let list: Value = serde_json::from_str(&run_command(&deployment, &["signing-key", "list", "--json"]).out).unwrap();
        let active = list.as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
        let revoke = format!("/v1/signing-keys/{}/revoke", active["kid"].as_str().unwrap());
        assert_eq!(server.call(&admin, "POST", &revoke, None).await.status(), 200);
        until("the next key signs", LONG, || async { server.exchange_succeeds(&key).await }).await;
        let doctor = run_command(&deployment, &["doctor"]);
        assert!(doctor.code == Some(0) && doctor.out.contains(IN_MEMORY), "{doctor:?}");
        assert!(run_command(&deployment, &["restore", "status"]).out.contains(IN_MEMORY));
        refused(&run_command(&deployment, &["master-key", "rotate"]), &["master.2", "directory is not writable", "base64"]);
        let log = server.stop().err;
        assert_eq!(log.matches(IN_MEMORY).count(), 1, "{log}");
        assert!(!log.contains("failed to use the file of the rollback guard"), "{log}");

        let server = serve(&deployment).ready();
        assert!(server.exchange_succeeds(&key).await);
        undo_restore(&deployment, 3);
        until("the rollback is detected", LONG, || async { server.exchange(&key).await.status() == 503 }).await;
        let log = server.process.log();
        assert!(log.contains("was rolled back") && log.contains("this server is restarted"), "{log}");
        refused(&run_command(&deployment, &["restore", "accept"]), &["--yes"]);
        assert_eq!(run_command(&deployment, &["restore", "accept", "--yes"]).code, Some(0));
        assert_eq!(server.exchange(&key).await.status(), 503, "the database cannot decide");
        server.stop();
        // systemd provides a directory for the guard.
        let state = deployment.database.dir.path().join("state");
        fs::create_dir(&state).unwrap();
        let mut command = program(&deployment, &["serve"]);
        command.env("STATE_DIRECTORY", &state);
        let server = Process::spawn(command).ready();
        assert!(server.exchange_succeeds(&key).await, "a restart accepts the database");
        let log = server.stop().err;
        assert!(!log.contains(IN_MEMORY) && state.join("rollback_guard").exists(), "{log}");
    }

    async fn first_start_creates_nothing_without_a_place_for_the_administrator_key(deployment: Deployment) {
        provide_key(&deployment);
        refused(&run_command(&deployment, &["serve"]), &["administrator.key", "set bootstrap.admin_key_file"]);
        match deployment.database.kind {
            Kind::Sqlite => assert!(!Path::new(deployment.database.url.strip_prefix("sqlite://").unwrap()).exists()),
            Kind::Postgres => {
                for table in ["master_keys", "signing_keys", "api_keys", "events"] {
                    let query = format!("SELECT CAST(count(*) AS TEXT) AS line FROM {table}");
                    assert_eq!(tables::lines(&deployment, &query), ["0"], "{table}");
                }
            }
        }
        let (deployment, admin_file) = with_admin_file(&deployment);
        let server = serve(&deployment).ready();
        assert!(server.knows(&read_key(&admin_file)).await);
        server.stop();
    }

    async fn ordinary_user_runs_with_a_directory_that_it_cannot_write(deployment: Deployment) {
        provide_key(&deployment);
        let (deployment, admin_file) = with_admin_file(&deployment);
        chmod(&deployment.keys(), 0o500);
        let server = Process::spawn(as_ordinary_user(&deployment.command(&["serve"]))).ready();
        let (_, key) = server.key(&read_key(&admin_file)).await;
        assert!(server.exchange_succeeds(&key).await);
        let log = server.stop().err;
        assert_eq!(log.matches(IN_MEMORY).count(), 1, "{log}");
        assert!(!log.contains("accessible to other") && !log.contains("can be read by other users"), "{log}");
        // So that the directory can be deleted.
        chmod(&deployment.keys(), 0o700);
    }

    async fn master_key_init_refuses_a_read_only_directory(deployment: Deployment) {
        fs::create_dir_all(deployment.keys()).unwrap();
        refused(&run_command(&deployment, &["master-key", "init"]), &["master.1", "directory is not writable", "base64"]);
        assert_eq!(fs::read_dir(deployment.keys()).unwrap().count(), 0);
    }
}
