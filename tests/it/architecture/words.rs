//! Retired names.
