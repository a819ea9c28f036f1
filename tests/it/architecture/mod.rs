//! The structure rules of `docs/development/invariants.md`, the retired names, and the
//! documents, which the compiler does not check.

mod changes;
mod credentials;
mod documents;
mod layers;
mod references;
mod rows;
mod rules;
mod sizes;
mod source;
mod words;
