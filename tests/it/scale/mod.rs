//! What grows is indexed: every statement that the API makes is caught on its way and its plan read, with tables that are not small.

mod calls;
pub mod fill;
mod full;
mod plans;

use crate::support::{Kind, Server};
use fill::Size;

/// Enough for a planner to prefer an index wherever there is one.
const SIZE: Size = Size { organizations: 2_000, users: 20_000, keys: 50_000, others: 20_000 };

fn every_plan(kind: Kind) {
    Server::run(kind, &[], |server| async move {
        calls::prepare(&server).await;
        fill::fill(&server.database, SIZE);
        // Connections that are made from now on tell what they do.
        plans::watch(&server.database);
        let replica = server.replica().await;
        calls::everything(&replica).await;
        plans::check(&replica).await;
    });
}

#[test]
fn every_list_and_look_up_uses_an_index_on_sqlite() {
    every_plan(Kind::Sqlite);
}

#[test]
fn every_list_and_look_up_uses_an_index_on_postgres() {
    every_plan(Kind::Postgres);
}
