//! API keys: management, lifecycle, import, usage and quotas.

mod change_rates;
mod imported_keys;
mod lifecycle;
mod management;
mod narrowing;
mod quotas;
mod usage;
