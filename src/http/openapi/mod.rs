//! The OpenAPI document, derived from the code: paths, methods and permissions from the routing
//! table and the handler signatures, schemas from the request and response types. A handler adds an
//! attribute of one line.

pub(crate) mod document;
pub(crate) mod documents;
pub(crate) mod failures;
pub(crate) mod pages;
pub(crate) mod responses;
pub(crate) mod schemas;
pub(crate) mod signature;
pub(crate) mod value_schemas;

pub use document::document;
pub(crate) use signature::{
    HandlerArgument, HandlerDescription, HandlerResponse, HandlerSignature, PermissionRequirement,
};
