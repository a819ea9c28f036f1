//! API keys: management, lifecycle, import and usage.

mod imported_keys;
mod lifecycle;
mod management;
mod narrowing;
mod usage;
