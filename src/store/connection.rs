//! A connection to the database, the server that it leads to, and the session of the server that
//! belongs to it.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use diesel::{PgConnection, SqliteConnection};

use crate::store::{database_lease::ServerIdentity, error::OpenError, session};

#[derive(diesel::MultiConnection)]
pub enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Conn(SQLite)",
            Self::Postgres(_) => "Conn(PostgreSQL)",
        })
    }
}

/// A connection, and the PostgreSQL server that it leads to for its whole life. SQLite has no
/// server.
#[derive(Debug)]
pub struct ServerConn {
    inner: Conn,
    server: Option<ServerIdentity>,
    /// The id that the session was given. SQLite has no sessions, and its connections no ids.
    session_id: String,
}

impl ServerConn {
    pub const fn new(inner: Conn, server: Option<ServerIdentity>, session_id: String) -> Self {
        Self { inner, server, session_id }
    }

    pub const fn server(&self) -> Option<ServerIdentity> {
        self.server
    }

    /// Fails if the connection to PostgreSQL is lost, has a session other than its own, or is
    /// read-only.
    pub fn check_session(&mut self) -> Result<(), OpenError> {
        match &mut self.inner {
            Conn::Sqlite(_) => Ok(()),
            Conn::Postgres(inner) => session::check(inner, &self.session_id),
        }
    }

    /// Fails if a pooler gives the sessions of this connection and of `other`, which is newer, to
    /// each other.
    pub fn require_own_sessions(&mut self, other: &mut Self) -> Result<(), OpenError> {
        match (&mut self.inner, &mut other.inner) {
            (Conn::Postgres(first), Conn::Postgres(second)) => {
                session::require_own_sessions((first, self.session_id.as_str()), (second, other.session_id.as_str()))
            }
            (Conn::Sqlite(_), _) | (_, Conn::Sqlite(_)) => Ok(()),
        }
    }
}

impl Deref for ServerConn {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.inner
    }
}

impl DerefMut for ServerConn {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.inner
    }
}
