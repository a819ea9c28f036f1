//! How changes take locks.

use super::source::{File, Sources};

/// Locks are taken in one order because every change takes them through `Tx`, which knows the locks
/// that the change holds. The reason of a change without an event is held by the compiler: only
/// `Outcome` can build itself.
#[test]
fn advisory_locks_are_taken_through_tx() {
    let faults: Vec<_> = Sources::read()
        .files
        .iter()
        .filter(|(module, _)| {
            !["store::dialect", "store::transaction", "store::migrate"].contains(&&*module.join("::"))
        })
        .filter(|(_, file)| takes_lock(file))
        .map(|(_, file)| format!("{} takes an advisory lock; call `Tx::lock`", file.name))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_lock_without_its_order_is_noticed() {
    for text in [
        "fn f(tx: &mut Tx<'_>) { store::lock(tx, 1); }",
        "use crate::store::dialect::try_lock; fn f(tx: &mut Tx<'_>) { try_lock(tx, 1); }",
        "fn f(tx: &mut Tx<'_>) { diesel::sql_query(\"SELECT pg_advisory_xact_lock(1)\").execute(tx); }",
    ] {
        assert!(takes_lock(&File::parse("x.rs".to_owned(), text)), "{text}");
    }
    assert!(!takes_lock(&File::parse("x.rs".to_owned(), "fn f(tx: &mut Tx<'_>) { tx.lock(Lock::Setup); }")));
}

fn takes_lock(file: &File) -> bool {
    let functions = ["lock", "try_lock"].map(|name| [["store", name], ["dialect", name]]);
    file.strings.iter().any(|text| text.contains("pg_advisory") || text.contains("pg_try_advisory"))
        || functions.as_flattened().iter().any(|path| file.names_path(path))
}
