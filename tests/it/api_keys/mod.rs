//! API keys: management, lifecycle, import, usage and quotas.

mod change_quotas;
mod imported_keys;
mod key_quotas;
mod lifecycle;
mod management;
mod narrowing;
mod usage;
