//! Portal sessions: what a user's own browser calls `/v1` with, for a short while.

use super::{event::ActorRef, id::PortalSessionId, policy::Holdings, standing::Home, time::Timestamp};

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalSession {
    pub id: PortalSessionId,
    /// The user, in the incarnation for which it was opened: one who was deleted or has left does not come back into it.
    pub home: Home,
    pub created_at: Timestamp,
    pub created_by: ActorRef,
    pub expires_at: Timestamp,
    /// What whoever opened it may hand out: the user hands out nothing beyond.
    pub held: Holdings,
}
