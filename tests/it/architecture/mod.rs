//! The structure rules S1, S2, S4 and S8 of `docs/development/invariants.md`, the retired names, and the
//! documents, which the compiler does not check.

mod changes;
mod credentials;
mod documents;
mod layers;
mod rows;
mod sizes;
mod source;
mod words;
