//! The OpenAPI document, derived from the code: paths, methods and permissions from the routing
//! table and the handler signatures, schemas from the request and response types. A handler adds an
//! attribute of one line.

pub mod answers;
mod document;
pub mod documents;
mod failures;
pub mod objects;
pub mod pages;
pub mod params;
pub(crate) mod schemas;
pub(crate) mod signature;
mod words;

pub use document::document;
pub use signature::{Described, HandlerResponse, HandlerSignature, Part, PermissionRequirement};
