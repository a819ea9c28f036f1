//! HTTP connections to third parties. Only this module opens them, and each one passes its guard
//! (ASVS 1.3.6, 13.2.4).

mod guard;
mod post;
mod resolver;

pub use guard::{DestinationError, OutboundGuard};
pub use post::{Outbound, RequestError, WebhookResponse};
pub use resolver::{NoAddress, Resolve, SystemResolver};
