//! Copies of a database, for tests that start several times from the same state or restore one.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use diesel::connection::SimpleConnection;

use super::{Database, administer};

impl Database {
    /// Copies this database, every file in its directory, and its clock offsets. The database must
    /// have no open connections.
    pub fn copy(&self) -> Self {
        let copy = Self::unmade(self.kind);
        copy_files(self.dir.path(), copy.dir.path());
        if let (Some(from), Some(to)) = (&self.name, &copy.name) {
            let create = format!("CREATE DATABASE {to} TEMPLATE {from} STRATEGY FILE_COPY");
            administer().batch_execute(&create).unwrap();
        }
        for (from, to) in [(&self.offset, &copy.offset), (&self.passed, &copy.passed)] {
            to.store(from.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        copy
    }

    /// A new database with the content and the keys of this one.
    pub fn copy_with_keys(&self) -> Self {
        let copy = Self::new(self.kind);
        let [from, to] = [self, &copy].map(|database| database.dir.path().join("keys"));
        fs::create_dir(&to).unwrap();
        copy_files(&from, &to);
        copy.replace_with(self);
        copy
    }

    /// Replaces the content with that of `other`, to which no server may be connected, as a restore
    /// does. Servers of this database continue: on SQLite in the same file, on PostgreSQL after
    /// their connections are lost.
    pub fn replace_with(&self, other: &Self) {
        let Some((name, from)) = self.name.as_ref().zip(other.name.as_ref()) else {
            let [to, from] = [&self.url, &other.url].map(|url| url.strip_prefix("sqlite://").unwrap());
            let copied = Command::new("python3").args(["-c", ONLINE_BACKUP, from, to]).output().unwrap();
            assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
            return;
        };
        // A server may connect again before the database is dropped. Statements of one batch would
        // be in one transaction, in which a database can be neither dropped nor created.
        administer().batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {from} STRATEGY FILE_COPY");
        let began = Instant::now();
        while let Err(error) = administer().batch_execute(&create) {
            // A server that has stopped may still be closing its connections.
            let is_in_use = error.to_string().contains("being accessed by other users");
            assert!(is_in_use && began.elapsed() < Duration::from_secs(60), "{error}");
        }
    }
}

/// Copies a database of SQLite into another one with its online backup, which keeps the file and
/// writes its pages in one transaction.
const ONLINE_BACKUP: &str = "
import sqlite3, sys
source, target = (sqlite3.connect(path, timeout=10) for path in sys.argv[1:])
source.backup(target)
target.close()
source.close()
";

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_files(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
