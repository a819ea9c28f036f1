//! Connections: every one makes progress or ends, and their number has a limit (invariant 16).

pub mod body;
mod http2;
mod http2_body;
mod http2_messages;
pub mod listener;
mod receive_deadline;
pub mod registry;
mod stall_budget;
pub mod stream;
