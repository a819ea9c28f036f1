//! The model of the rotation.

#[path = "../it/signing/model.rs"]
mod model;
#[path = "../it/signing/random_walk.rs"]
mod random_walk;
#[path = "../it/signing/search.rs"]
mod search;
