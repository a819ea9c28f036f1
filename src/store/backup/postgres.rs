//! The dump of a PostgreSQL database.

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

use diesel::{connection::SimpleConnection as _, dsl::sql, prelude::*, sql_types::Text};

use crate::store::{
    backup::{cancellation::Cancellation, error::BackupError, temporary_file::TemporaryFile},
    schema::event_chain_head,
    settings::DatabaseSettings,
};

/// How long `pg_dump` waits for a table that a migration has locked, in milliseconds.
const LOCK_TIMEOUT: &str = "--lock-wait-timeout=60000";

/// Dumps the database into the file, and returns the number of its last event. The dump and the
/// number are of one snapshot.
pub fn dump(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    output: &TemporaryFile,
    cancellation: &Cancellation,
) -> Result<i64, BackupError> {
    let version: String = sql::<Text>("SELECT current_setting('server_version_num')").get_result(connection)?;
    let server = version.parse::<u32>().unwrap_or_default() / 10_000;
    let programs = ClientPrograms { server, cancellation };
    programs.check_version()?;
    // The snapshot is valid as long as the transaction, which is idle until the dump is done.
    connection.batch_execute(
        "SET idle_in_transaction_session_timeout = 0; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    )?;
    let snapshot: String = sql::<Text>("SELECT pg_export_snapshot()").get_result(connection)?;
    let event_seq = event_chain_head::table.select(event_chain_head::seq).first(connection)?;
    let mut command = pg_dump(settings)?;
    command.args(["--format=custom", LOCK_TIMEOUT]).arg(format!("--snapshot={snapshot}"));
    let file = output.file().try_clone();
    let file = file.map_err(|source| BackupError::Write { file: output.path().to_owned(), source })?;
    programs.run("pg_dump", command.stdout(file))?;
    // Reads the table of contents, which is written last.
    let mut list = client_program("pg_restore");
    programs.run("pg_restore", list.arg("--list").arg(output.path()).stdout(Stdio::null()))?;
    Ok(event_seq)
}

/// A `pg_dump` of this database. Arguments are visible to every user of the machine, so the
/// password is in the environment of the child.
fn pg_dump(settings: &DatabaseSettings) -> Result<Command, BackupError> {
    let login = settings.url.split_password().ok_or(BackupError::ClientKeyPassword)?;
    let mut command = client_program("pg_dump");
    command.arg("--no-password").arg(format!("--dbname={}", login.url));
    if let Some(password) = login.password {
        command.env("PGPASSWORD", password);
    }
    // Parameters in the URL take precedence. A standby may be behind.
    command.env("PGTARGETSESSIONATTRS", "read-write").env("PGAPPNAME", "keyswap backup");
    command.env("PGCONNECT_TIMEOUT", settings.connect_timeout.as_secs().max(2).to_string());
    Ok(command)
}

/// A program of PostgreSQL, without the settings of Keyswap in its environment: it needs none of
/// the secrets among them.
fn client_program(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command
}

fn is_setting(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"KEYSWAP__")
}

/// Runs the client programs for a server of the major version `server`.
struct ClientPrograms<'a> {
    server: u32,
    cancellation: &'a Cancellation,
}

impl ClientPrograms<'_> {
    /// `pg_dump` refuses a server that is newer than itself.
    fn check_version(&self) -> Result<(), BackupError> {
        let server = self.server;
        let output = self.run("pg_dump", client_program("pg_dump").arg("--version").stdout(Stdio::piped()))?;
        match parse_major_version(&String::from_utf8_lossy(&output.stdout)) {
            Some(found) if found < server => Err(BackupError::OlderProgram { found, server }),
            Some(_) | None => Ok(()),
        }
    }

    /// Runs a program, which must succeed.
    fn run(&self, program: &'static str, command: &mut Command) -> Result<Output, BackupError> {
        let server = self.server;
        let output = self.cancellation.run(command);
        let output = output.map_err(|source| BackupError::MissingProgram { program, server, source })?;
        if output.status.success() {
            return Ok(output);
        }
        self.cancellation.check()?;
        let message = String::from_utf8_lossy(&output.stderr);
        let message =
            if message.trim().is_empty() { output.status.to_string() } else { message.trim().replace('\n', "; ") };
        Err(BackupError::Program { program, message })
    }
}

/// Returns the major version in `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_major_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    version.split(|at: char| !at.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        for (text, version) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("pg_dump (PostgreSQL) 18beta1", Some(18)),
            ("pg_dump (PostgreSQL) 9.6.24", Some(9)),
            ("", None),
        ] {
            assert_eq!(parse_major_version(text), version, "{text}");
        }
    }
}
