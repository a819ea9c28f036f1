//! Organizations, users and members.

mod import;
