//! Organizations, users and members.

mod identifiers;
mod import;
mod mirror;
