pub mod columns;
pub mod master_keys;
