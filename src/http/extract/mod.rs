pub mod access;
pub mod body;
mod form;
mod if_match;
mod json;
mod path;
mod query;
pub mod request;

pub use access::{Caller, PresentedKey, Unauthenticated};
pub use form::Form;
pub use if_match::IfMatch;
pub use json::{IdempotentJson, Json, OptionalJson, deserialize_secret};
pub use path::{NewPath, Path, PathPair};
pub use query::{Count, Limit, Paging, Query};
pub use request::request_call;
