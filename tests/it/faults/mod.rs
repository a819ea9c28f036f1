//! What goes wrong in the world: databases that leave, disks that fill, processes that die, keys that leak, clocks that tell
//! too much. Most of it against the real program, in processes of its own.

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
