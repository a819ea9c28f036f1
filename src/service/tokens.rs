//! A token of ours that came back: its key, and whether something ended it before its time. The one place that says so, for the callers of
//! `/v1` and for whatever services ask about: what is revoked is refused at once (design rule 2).

use std::collections::BTreeSet;

use crate::{
    domain::{
        audience::Identifier,
        claims::Claims,
        grant::{Facts, KeyFault},
    },
    store::{
        StoreError,
        facts::{Loaded, Wanted},
        revoked_tokens,
    },
};

use super::{
    App,
    proof::{Denied, Look},
};

/// The facts about the key of a token whose signature was verified, and what was looked up beside them; or why the token is in force no
/// more. Whether the key is in force is for `grant`.
///
/// # Errors
/// The database is away.
pub(super) async fn found<X: Send + 'static>(
    app: &App,
    claims: &Claims,
    targets: &BTreeSet<Identifier>,
    look: Look<X>,
) -> Result<Result<(Facts, X), KeyFault>, Denied> {
    let (claims, targets) = (claims.clone(), targets.clone());
    let read = move |connection: &mut _| {
        let wanted = Wanted::Key(claims.key_id.clone());
        let Some((Loaded { facts, .. }, more)) = look(connection, &wanted, &targets)? else {
            return Ok(Err(KeyFault::Unknown));
        };
        let known = revoked_tokens::token_now(connection, &claims, facts.now)?;
        Ok(claims.in_force(facts.now, &known).map(|()| (facts, more)))
    };
    Ok(app.store.read::<_, StoreError>(read).await?)
}
