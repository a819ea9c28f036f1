//! Signing keys: published before they sign, kept until their last token has expired, and rotated
//! on schedule, by hand and in an emergency. `domain::signing::rotation` decides what happens and
//! when; this module executes it.

pub mod clock_monitor;
pub mod clock_reference;
pub mod emergency;
pub mod import;
pub mod key_cache;
pub(crate) mod key_change;
pub(crate) mod key_publisher;
pub mod key_snapshot;
pub mod live_tokens;
pub mod metadata;
pub mod rotation;
pub mod rotation_state;

use crate::service::{
    Error, Services,
    signing::rotation_state::{RotationState, Timeline},
};

pub use clock_reference::ClockMonitor;
pub use emergency::{Revocation, revoke};
pub use import::import;
pub use rotation::{RotationResult, preview_rotation, rotate, run_due_rotation};

/// Returns the signing keys, the rotation plan and the running replicas.
pub async fn timeline(services: &Services) -> Result<Timeline, Error> {
    Ok(RotationState::load(services).await?.timeline())
}
