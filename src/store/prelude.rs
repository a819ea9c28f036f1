//! What nearly every file with queries uses.

pub(crate) use diesel::prelude::*;

pub(crate) use crate::store::{
    error::StoreError,
    pool::Conn,
    query::RunQuery,
    rows::{load_page, lock_row, selectable, selectable_by_name, values},
    transaction::Tx,
};
