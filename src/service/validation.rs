//! Validation: a service asks about a key or a token that it was shown, and has the whole answer from one call.

use crate::domain::{
    permission::PermissionSet,
    validation::{Behind, Question, missing},
};

use super::{
    App,
    api_keys::Shown,
    proof::{Denied, WHOLE},
    shown::{Judged, judge_shown},
};

/// A key that is in force, and those behind it.
#[derive(Debug)]
pub struct Validated {
    pub shown: Shown,
    pub behind: Behind,
    /// The permissions that were required and are not in effect.
    pub missing: PermissionSet,
}

/// What there is to say of a key, or of a token and the key it was made from; nothing where it is not accepted, whatever the reason.
/// `value` is as it came, with or without `Bearer` before it.
///
/// # Errors
/// Too many failures with this credential; the database is away.
pub async fn validate(app: &App, value: &str, question: &Question) -> Result<Option<Validated>, Denied> {
    let asks = question.audience.clone().map(|audience| [audience].into());
    let judged = judge_shown(app, value, asks.as_ref(), WHOLE, |facts, bounds| {
        missing(facts, question, bounds, &app.settings.limits)
    });
    Ok(judged.await?.map(|Judged { ruling: missing, facts, more: (key, behind), .. }| Validated {
        shown: Shown::new(key, facts.now, &app.settings),
        behind,
        missing,
    }))
}
