//! The limit of exchanges per minute that a key may have. It is counted in the database, so that it holds over all replicas together;
//! a key without one pays nothing for it.

use crate::{
    domain::{
        event::{Actor, Origin},
        grant::KeyFacts,
        usage::Window,
    },
    store::{self, Outcome, StoreError},
};

use super::{App, proof::Denied};

/// Counts an exchange of a key that has a limit, and says where the key stands then.
///
/// # Errors
/// There is none left in this minute; the database does not answer.
pub(super) async fn count(app: &App, key: &KeyFacts) -> Result<Option<Window>, Denied> {
    let Some(limit) = key.exchanges_per_minute else { return Ok(None) };
    let id = key.id.clone();
    let counted = app.store.change(Origin::of(Actor::System), move |tx| {
        let left = store::key_windows::take(tx, &id, limit)?;
        Ok::<_, StoreError>(Outcome::bookkeeping((left, tx.now())))
    });
    match counted.await? {
        (Some(left), now) => Ok(Some(Window::at(now, limit, left))),
        (None, now) => Err(Denied::Limited(Window::at(now, limit, 0))),
    }
}
