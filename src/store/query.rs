//! Runs queries and statements: on any connection to read, and within a change to write.

use diesel::{
    OptionalExtension, RunQueryDsl,
    dsl::Limit,
    query_dsl::{
        LoadQuery,
        methods::{ExecuteDsl, LimitDsl},
    },
};

use crate::store::{error::StoreError, pool::Conn, transaction::Tx};

/// Runs a query or a statement, with the errors of this layer.
pub(crate) trait RunQuery: RunQueryDsl<Conn> {
    fn load_all<'q, T>(self, connection: &mut Conn) -> Result<Vec<T>, StoreError>
    where
        Self: LoadQuery<'q, Conn, T>,
    {
        Ok(self.load(connection)?)
    }

    fn load_first<'q, T>(self, connection: &mut Conn) -> Result<Option<T>, StoreError>
    where
        Self: LimitDsl,
        Limit<Self>: LoadQuery<'q, Conn, T>,
    {
        Ok(self.first(connection).optional()?)
    }

    /// Loads the only row of a query that always has one.
    fn load_one<'q, T>(self, connection: &mut Conn) -> Result<T, StoreError>
    where
        Self: LoadQuery<'q, Conn, T>,
    {
        Ok(self.get_result(connection)?)
    }

    fn execute_in(self, tx: &mut Tx<'_>) -> Result<(), StoreError>
    where
        Self: ExecuteDsl<Conn>,
    {
        self.count_affected(tx).map(drop)
    }

    /// Executes a statement and returns the number of rows that it affected.
    fn count_affected(self, tx: &mut Tx<'_>) -> Result<usize, StoreError>
    where
        Self: ExecuteDsl<Conn>,
    {
        Ok(self.execute(&mut **tx)?)
    }
}

impl<Q: RunQueryDsl<Conn>> RunQuery for Q {}
