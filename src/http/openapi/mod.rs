//! The OpenAPI document, made from the code that answers: paths, methods and permissions from the table of routes and the
//! signatures of its handlers, schemas from the types that are read and written. What a handler adds is an attribute of a line.

pub mod answers;
mod document;
mod failures;
pub mod objects;
pub mod pages;
pub mod params;
mod signature;
mod words;

pub use document::document;
pub use signature::{Described, Failing, Needs, Part, Signature};
