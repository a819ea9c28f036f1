pub mod access;
pub mod body;
pub mod client_address;
pub mod conditional;
mod form;
mod json;
pub mod parameter_names;
mod path;
mod query;
pub mod request;

pub use access::{Caller, PresentedKey, Unauthenticated};
pub use form::Form;
pub use json::{Idempotent, Json, MERGE_PATCH, OptionalJson, deserialize_secret};
pub use path::{NewPath, Path, PathPair};
pub use query::{Count, Limit, Paging, Query};
pub use request::request_call;
