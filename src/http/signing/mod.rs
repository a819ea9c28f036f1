pub mod signing_keys;
pub mod well_known;
