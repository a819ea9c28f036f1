//! Fault tests: database outages, full disks, killed processes, leaked secrets, races and timing
//! side channels. Most of them run the real program in separate processes.

mod cluster;
mod commands;
mod durability;
mod exactness;
mod guessing;
mod herd;
mod import;
mod leaks;
mod life;
mod mistakes;
mod outage;
pub mod process;
mod races;
mod replicas;
mod revocation;
mod secrets;
mod signing;
mod start;
mod statements;
pub mod tables;
mod timing;
