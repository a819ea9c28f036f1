//! Copies of a database, for tests that start several times from the same state.

use std::{fs, path::Path, sync::atomic::Ordering};

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
}

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
