//! Organizations, users and members.

mod import;
mod mirror;
