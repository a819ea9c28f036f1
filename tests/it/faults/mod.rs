//! Fault tests: database outages, full disks, killed processes, leaked secrets, races and timing
//! side channels. Most of them run the real program in separate processes.

mod altered_rows;
mod altered_signing_keys;
mod backup;
mod brute_force;
mod cluster;
mod commands;
mod connections;
mod durability;
mod failover;
mod forwarded_header;
mod immediate_revocation;
mod lease;
mod logging;
mod lost_requests;
mod misplaced_keys;
mod outage;
mod poolers;
pub mod process;
mod protocol_faults;
mod public_errors;
mod races;
mod replicas;
mod revocation;
mod secret_search;
mod secrets;
mod server_lifecycle;
mod signing;
mod signing_key_import;
mod sqlite_tools;
mod startup;
mod statements;
pub mod tables;
mod thundering_herd;
mod timing;
mod transactions;
