//! Who calls `/v1`: an API key, or a token for the management audience. What it may do is for `domain::policy`.

use crate::{
    domain::{
        event::{Actor, Origin},
        grant::{self, Refusal, Request},
        id::KeyId,
        permission::PermissionSet,
        policy::{ADMIN, Holdings},
    },
    store::facts::{self, Wanted},
    telemetry::metrics::Form,
};

use super::{
    App,
    guessing::Source,
    proof::{Attempt, Denied, judge},
};

/// Someone who is known, and what they bring.
#[derive(Debug, Clone)]
pub struct Caller {
    pub origin: Origin,
    /// The management permissions they have here.
    pub scope: PermissionSet,
    /// What they may hand out.
    pub holdings: Holdings,
}

impl Caller {
    /// Someone with a shell on the server.
    pub fn cli() -> Self {
        Self {
            origin: Origin::of(Actor::Cli),
            scope: ADMIN.parse().into_iter().collect(),
            holdings: Holdings::WholeCatalog,
        }
    }
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct Call {
    pub source: Source,
    pub request_id: String,
    pub address: String,
}

/// Finds out who holds `credential`.
///
/// # Errors
/// `Denied::Key` when nobody does.
pub async fn authenticate(app: &App, credential: &str, call: &Call) -> Result<Caller, Denied> {
    let (key, scope, holdings) = if credential.contains('.') {
        by_token(app, credential, call.source).await?
    } else {
        by_key(app, credential, call.source).await?
    };
    let origin = Origin {
        actor: Actor::Key(key),
        request_id: Some(call.request_id.clone()),
        address: Some(call.address.clone()),
    };
    Ok(Caller { origin, scope, holdings })
}

type Identity = (KeyId, PermissionSet, Holdings);

fn management_request(app: &App) -> Request {
    Request { targets: [app.settings.management_audience.clone()].into(), ..Request::default() }
}

async fn by_key(app: &App, key: &str, source: Source) -> Result<Identity, Denied> {
    let request = management_request(app);
    let attempt = Attempt { key, source, form: Form::Management };
    let (identity, _) = judge(app, attempt, &request, |facts| {
        let scope = match grant::decide(facts, &request, &app.settings.limits) {
            Ok(grant) => grant.scope,
            Err(Refusal::Key(fault)) => return Err(Refusal::Key(fault)),
            // A right key that has no business here: known, and allowed nothing.
            Err(Refusal::Scope(_) | Refusal::Target(_)) => PermissionSet::default(),
        };
        Ok((facts.key.id.clone(), scope, Holdings::of(grant::holdings(&facts.key))))
    })
    .await?;
    Ok(identity)
}

/// A token of ours for the management audience. Its key must still be in force: revoked means refused at once, here too.
async fn by_token(app: &App, token: &str, source: Source) -> Result<Identity, Denied> {
    app.guessing.admit_source(source).map_err(|throttled| Denied::Throttled(throttled.retry_after))?;
    let unaccepted = || {
        app.guessing.failed(source, None);
        Denied::Key
    };
    let audience = app.settings.management_audience.as_str();
    let claims = app.keys.view().verify(token, app.issuer(), audience).ok_or_else(unaccepted)?;
    let request = management_request(app);
    let (wanted, targets) = (Wanted::Key(claims.key_id.clone()), request.targets.clone());
    let loaded = app.store.read(move |connection| facts::load(connection, &wanted, &targets)).await?;
    let facts = loaded.ok_or_else(unaccepted)?.facts;
    if claims.exp <= facts.now.seconds() {
        return Err(unaccepted());
    }
    let now = match grant::decide(&facts, &request, &app.settings.limits) {
        Ok(grant) => grant.scope,
        Err(Refusal::Key(_)) => return Err(unaccepted()),
        Err(Refusal::Scope(_) | Refusal::Target(_)) => PermissionSet::default(),
    };
    let minted = claims.scope.as_deref().map(PermissionSet::from_stored).transpose().map_err(|_| Denied::Key)?;
    let scope = minted.unwrap_or_default().intersection(&now);
    // A token that was narrowed hands out no management permission it does not carry, whatever its key holds.
    let held = match Holdings::of(scope.clone()) {
        Holdings::WholeCatalog => Holdings::WholeCatalog,
        Holdings::Listed(_) => {
            let of_key = grant::holdings(&facts.key);
            let handed_on = of_key.iter().filter(|name| !name.is_management() || scope.contains(name));
            Holdings::Listed(handed_on.cloned().collect())
        }
    };
    Ok((claims.key_id, scope, held))
}
