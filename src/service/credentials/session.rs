//! Authenticates portal sessions and loads the current directory entry of their user.

use tokio::time::Instant;

use crate::{
    crypto::{credential, encryption::Sealed},
    domain::{
        access::policy::Holdings,
        common::{derived_id::PortalSessionId, time::Timestamp},
        credentials::{
            error::KeyFault,
            format::{Prefix, PresentedKey},
        },
        portal::session::SessionKind,
    },
    service::{
        App,
        access::owners::{self, PlaceNow},
        credentials::{
            brute_force::{Source, Throttled},
            error::Denied,
            verify::{outcome_of, refused, require_trusted, wait_for_tick},
        },
    },
    store::{self, StoreError, portal::sessions::StoredPortalSession},
    telemetry::labels::{Form, Result as Judged},
};

/// Parses a credential as the token of a portal session; `None` for any other credential.
pub(crate) fn token(credential: &str) -> Option<PresentedKey> {
    let presented = PresentedKey::parse(credential).ok()?;
    (presented.prefix == Prefix::portal_session()).then_some(presented)
}

/// An authenticated session.
#[derive(Debug)]
pub(crate) struct Proved {
    pub session: PortalSessionId,
    /// The current directory entry of its user.
    pub place: PlaceNow,
    /// The permissions that the opener of the session may grant.
    pub held: Holdings,
}

/// Authenticates a session that was presented in the way of `kind`, and loads the current directory
/// entry of its user. Every fault of the session yields `Denied::Key`, including a session of
/// another kind.
pub(crate) async fn prove(
    app: &App,
    token: &PresentedKey,
    kind: SessionKind,
    source: Source,
) -> Result<Proved, Denied> {
    let started = Instant::now();
    let (outcome, result) = match proved(app, token, kind, source, started).await {
        Ok(proved) => (Judged::Granted, Ok(proved)),
        Err((outcome, denied)) => (outcome, Err(denied)),
    };
    app.metrics.exchanged(Form::Management, outcome, started.elapsed());
    result
}

async fn proved(
    app: &App,
    token: &PresentedKey,
    kind: SessionKind,
    source: Source,
    started: Instant,
) -> Result<Proved, (Judged, Denied)> {
    let throttled = |throttled: Throttled| (Judged::Throttled, Denied::Throttled(throttled.retry_after));
    require_trusted(app).map_err(|denied| (Judged::Unavailable, denied))?;
    app.guessing.admit_source(source).map_err(throttled)?;
    app.guessing.admit_credential(source, &token.credential).map_err(throttled)?;
    let id = PortalSessionId::from(&token.credential);
    let found = app
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let Some(stored) = store::portal::sessions::find(connection, &id)? else { return Ok(None) };
            let home = &stored.session.home;
            let place = match home.user() {
                Some(user) => owners::of_user(connection, user, home.organization())?,
                None => None,
            };
            Ok::<_, StoreError>(Some(Found { stored, place, now }))
        })
        .await;
    let verdict = found.map_err(Denied::from).and_then(|found| verdict(app, token, kind, found));
    match verdict.map_err(|denied| (outcome_of(&denied), denied))? {
        Ok(proved) => Ok(proved),
        Err(fault) => {
            app.guessing.failed(source, Some(&token.credential));
            wait_for_tick(app, started).await;
            Err(refused(Form::Management, Some(&token.credential), fault))
        }
    }
}

/// A stored session with the current directory entry of its user.
struct Found {
    stored: StoredPortalSession,
    place: Option<PlaceNow>,
    now: Timestamp,
}

fn verdict(
    app: &App,
    token: &PresentedKey,
    kind: SessionKind,
    found: Option<Found>,
) -> Result<Result<Proved, KeyFault>, Denied> {
    let Some(Found { stored, place, now }) = found else {
        app.decoy.compare(token)?;
        return Ok(Err(KeyFault::Unknown));
    };
    let StoredPortalSession { session, sealed, master_version } = stored;
    let sealed = Sealed { master_version, bytes: sealed };
    if !credential::proves_session(&app.master, &token.credential, &sealed, token)? {
        return Ok(Err(KeyFault::Wrong));
    }
    if session.kind != kind {
        return Ok(Err(KeyFault::Unknown));
    }
    if session.expires_at <= now {
        return Ok(Err(KeyFault::Expired));
    }
    // A user that was deleted and created again has another generation id, and the session does not
    // belong to it.
    Ok(match place.filter(|place| place.home == session.home) {
        None => Err(KeyFault::OwnerGone),
        Some(place) if place.blocked => Err(KeyFault::OwnerBlocked),
        Some(place) => Ok(Proved { session: session.id, place, held: session.held }),
    })
}
