//! The session of a PostgreSQL connection: the parameters that Keyswap depends on, and whether the
//! connection keeps its session. A pooler can give one session to several connections in turn.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use diesel::{ConnectionError, PgConnection, connection::SimpleConnection, result::Error as DieselError};

use crate::{
    domain::common::entropy::{Entropy, EntropyUnavailable},
    store::error::OpenError,
};

/// Issues the ids of the sessions of one process.
#[derive(Debug)]
pub(crate) struct SessionIds {
    process: u128,
    issued: AtomicU64,
}

impl SessionIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        let mut process = [0; 16];
        entropy.fill(&mut process)?;
        Ok(Self { process: u128::from_be_bytes(process), issued: AtomicU64::new(0) })
    }

    /// Returns an id of hexadecimal digits that no other session has, of any process.
    pub(crate) fn issue(&self) -> String {
        format!("{:032x}{:016x}", self.process, self.issued.fetch_add(1, Ordering::Relaxed))
    }
}

/// Sets the parameters of a new session, regardless of the defaults of the server, the database and
/// the role:
///
/// - Changes are written for READ COMMITTED. A statement that waited for a lock sees what its
///   holder has committed; under another level it fails instead.
/// - Deadlocks are recognized by their message. Only a superuser may choose its language, or a role
///   with `GRANT SET ON PARAMETER lc_messages`. Without the right, and with a server whose language
///   is not English, a change that meets a deadlock is not repeated.
///
/// Diesel sets `TimeZone` and `client_encoding`. `search_path` and `default_transaction_read_only`
/// belong to the deployment.
pub(crate) fn prepare(connection: &mut PgConnection, id: &str, timeout: Duration) -> Result<(), OpenError> {
    let timeout = timeout.as_millis();
    connection
        .batch_execute(&format!(
            "SET statement_timeout = {timeout}; SET lock_timeout = {timeout}; \
             SET idle_in_transaction_session_timeout = {timeout}; \
             SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET keyswap.session = '{id}';"
        ))
        .map_err(describe)?;
    // The block keeps the refusal out of the log of the server.
    let _ = connection.batch_execute(
        "DO $$ BEGIN PERFORM set_config('lc_messages', 'C', false); \
         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$",
    );
    Ok(())
}

/// The text that the server quotes in its message, in any language, if the session is another one.
const OTHER_SESSION: &str = "another keyswap.session";

/// The text that the server quotes if the session cannot write: on a standby, and where
/// `default_transaction_read_only` is on.
const READ_ONLY: &str = "read-only keyswap.session";

/// Fails if the connection is lost, if its session is not the one that was given `id`, or if it
/// cannot write. The check runs whenever a connection is taken from the pool, so it is one
/// statement without preparation, whose result is not read: a fault is a text that is no integer.
pub(crate) fn check(connection: &mut PgConnection, id: &str) -> Result<(), OpenError> {
    connection
        .batch_execute(&format!(
            "SELECT (CASE WHEN current_setting('keyswap.session', true) IS DISTINCT FROM '{id}' \
             THEN '{OTHER_SESSION}' WHEN current_setting('transaction_read_only') = 'on' THEN '{READ_ONLY}' \
             ELSE '1' END)::INTEGER"
        ))
        .map_err(describe)
}

/// Fails if a pooler gives the sessions of two new connections to each other. A session that is
/// given away after each statement has the id of `second` now, which was set last. One that is
/// given away after each transaction is not available to `first` while `second` is in a
/// transaction.
pub(crate) fn require_own_sessions(
    (first, first_id): (&mut PgConnection, &str),
    (second, second_id): (&mut PgConnection, &str),
) -> Result<(), OpenError> {
    check(first, first_id)?;
    check(second, second_id)?;
    second.batch_execute("BEGIN").map_err(describe)?;
    let checked = check(second, second_id).and_then(|()| check(first, first_id));
    let ended = second.batch_execute("ROLLBACK").map_err(describe);
    checked.and(ended)
}

fn describe(error: DieselError) -> OpenError {
    let text = error.to_string();
    if is_of_shared_session(&text) {
        OpenError::SharedSession
    } else if text.contains(READ_ONLY) {
        OpenError::ReadOnly
    } else {
        OpenError::Setup(error)
    }
}

/// Whether an error shows that a pooler shares sessions: `check` has failed, a statement was
/// prepared in another session, or PgBouncer refuses a transaction in its statement mode.
fn is_of_shared_session(message: &str) -> bool {
    [OTHER_SESSION, "prepared statement", "pooling mode"].iter().any(|text| message.contains(text))
}

/// Replaces an error for a URL that libpq cannot parse, because its message quotes the URL with the
/// password.
pub(crate) fn describe_connection_error(error: ConnectionError) -> OpenError {
    let text = error.to_string();
    if is_of_shared_session(&text) {
        // Diesel prepares the first statements of a connection.
        return OpenError::SharedSession;
    }
    let is_from_server = ["connection to server", "could not translate host name", "timeout expired"]
        .iter()
        .any(|known| text.contains(known));
    let quotes_url = matches!(error, ConnectionError::BadConnection(_)) && !is_from_server;
    if quotes_url { OpenError::UnreadableUrl } else { OpenError::Connect(error) }
}
