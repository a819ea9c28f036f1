//! The places where a secret could be stored: database files, write-ahead log and dumps.

use std::{fs, path::Path, process::Command, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyswap::{
    app::startup::{self, StartMode},
    crypto::encryption::private_key_row,
    domain::common::encryption::RowCipher as _,
    store::{self, SystemClock},
};

use super::Flow;
use crate::faults::process::Deployment;

impl Flow {
    /// Adds the master key and the decrypted private signing keys to the search.
    pub async fn watch_server_files(&mut self, deployment: &Deployment) {
        let file = fs::read_to_string(deployment.keys().join("master.1")).unwrap();
        self.searcher.watch("the master key", file.trim().as_bytes());
        self.searcher.watch("the master key", &STANDARD.decode(file.trim()).unwrap());
        let config = keyswap::config::Settings::load(None, &deployment.settings).unwrap();
        let services = startup::start(config, StartMode::Command, Arc::new(SystemClock)).await.unwrap();
        let keys = services.store.read(store::signing::stored_keys::list_rows).await.unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let encrypted = key.encrypted_private_key.unwrap();
            let der = services.master_keys.decrypt(&private_key_row(key.info.kid.as_str()), &encrypted).unwrap();
            // SEC 1 within PKCS#8: version 1, then a scalar of 32 bytes.
            let at = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
            self.searcher.watch("a private signing key", &der[at..at + 32]);
        }
    }

    /// Searches everything that the database stores: its files, its write-ahead log, a dump and the
    /// server log.
    pub fn search_database(&mut self, deployment: &Deployment, is_postgres: bool) {
        if !is_postgres {
            return self.search_files(&deployment.database.dir.path().join("data"));
        }
        let url = deployment.setting("database.url");
        let dump = program("pg_dump", &["--inserts", &url]);
        self.search("pg_dump", &dump);
        // A dump contains `bytea` in hex, so the data files are searched as well.
        psql(&url, "CHECKPOINT");
        let data = psql(&url, "SHOW data_directory");
        let data = Path::new(&data);
        let database = psql(&url, "SELECT oid FROM pg_database WHERE datname = current_database()");
        self.search_files(&data.join("base").join(database));
        self.search_files(&data.join("global"));
        self.search_files(&data.join("pg_wal"));
        // The server log contains failed statements with their values.
        assert!(self.search_file(&data.parent().unwrap().join("log")), "PostgreSQL's log is where it is looked for");
    }

    /// Searches one file at a time, so that only one is in memory.
    fn search_files(&mut self, dir: &Path) {
        let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        assert!(!files.is_empty(), "nothing lies in {}", dir.display());
        let read = files.iter().filter(|path| self.search_file(path)).count();
        assert!(read > 0, "nothing in {} was read", dir.display());
    }

    /// Returns whether the file still exists. PostgreSQL may remove a WAL segment during the
    /// search.
    fn search_file(&mut self, path: &Path) -> bool {
        match fs::read(path) {
            Ok(bytes) => {
                self.search(&path.display().to_string(), &bytes);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn psql(url: &str, query: &str) -> String {
    String::from_utf8(program("psql", &["-At", "-c", query, url])).unwrap().trim().to_owned()
}

fn program(name: &str, args: &[&str]) -> Vec<u8> {
    let bin = std::env::var("KEYSWAP_TEST_PGBIN").unwrap();
    let output = Command::new(Path::new(&bin).join(name)).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
