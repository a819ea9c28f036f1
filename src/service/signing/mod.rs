//! Signing keys: published before they sign, kept until their last token has expired, and rotated
//! on schedule, by hand and in an emergency. `domain::rotation` decides what happens and when; this
//! module executes it.

pub mod clock_monitor;
pub mod clock_reference;
pub mod emergency;
pub mod import;
pub mod jwk_set;
pub mod key_cache;
pub mod key_snapshot;
pub mod live_token_counts;
pub mod live_tokens;
pub mod loaded;
pub mod metadata;
pub mod requested;
pub mod rotation;
pub mod steps;

use crate::{
    service::{
        Error, Services,
        signing::loaded::{Looked, Timeline},
    },
    store::{self, StoreError},
};

pub use crate::service::replicas::registration::ReplicaRegistration;
pub use crate::service::replicas::{join, live};
pub use clock_reference::ClockMonitor;
pub use emergency::{Revocation, revoke};
pub use import::import;
pub use rotation::{Rotated, preview_rotation, rotate, run_due_rotation};

pub(crate) use rotation::settle;
pub(crate) use steps::{ensure_signing_keys, generate, has_next};

/// Returns the signing keys, the rotation plan and the running replicas.
pub async fn timeline(services: &Services) -> Result<Timeline, Error> {
    let settings = services.settings.clone();
    let told = services.store.read(move |connection| {
        let now = store::now(connection)?;
        let looked = Looked::at(connection, &settings, now)?;
        let live = store::signing::live_tokens::count_unexpired(connection, now)?;
        Ok::<_, StoreError>((now, looked, live))
    });
    let (now, looked, live) = told.await?;
    Ok(looked.timeline(now, &live))
}
