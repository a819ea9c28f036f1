//! Validation: a service checks a key or token that it has received, in one call.

use crate::{
    domain::{
        access::permission::PermissionSet,
        exchange::validation::{Behind, Question, missing},
    },
    service::{
        App,
        api_keys::types::Shown,
        credentials::{error::Denied, verify::WHOLE},
        introspection::resolve::{Judged, judge_shown},
    },
};

/// A key that is in force, with the user and organization behind it.
#[derive(Debug)]
pub struct Validated {
    pub shown: Shown,
    pub behind: Behind,
    /// The required permissions that are not in effect.
    pub missing: PermissionSet,
}

/// Validates a key, or a token and the key that it was issued for. Returns `None` if it is not
/// accepted, regardless of the reason. `value` may begin with `Bearer`.
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
