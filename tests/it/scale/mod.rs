//! Growing tables are indexed: every statement of the API is captured, and its query plan is
//! checked on filled tables.

mod full;
mod operations;
mod plans;
pub mod seed;

use crate::support::{Kind, Server};
use seed::Size;

/// Large enough for the planner to prefer an index wherever one exists.
const SIZE: Size = Size { organizations: 2_000, users: 20_000, keys: 50_000, others: 20_000 };

fn every_plan(kind: Kind) {
    Server::run(kind, &[], |server| async move {
        operations::prepare(&server).await;
        seed::fill(&server.database, SIZE);
        // Statements of connections opened from here on are captured.
        plans::watch(&server.database);
        let replica = server.replica().await;
        operations::call_everything(&replica).await;
        plans::check(&replica).await;
    });
}

#[test]
fn every_query_uses_an_index_on_sqlite() {
    every_plan(Kind::Sqlite);
}

#[test]
fn every_query_uses_an_index_on_postgres() {
    every_plan(Kind::Postgres);
}
