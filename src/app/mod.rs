pub mod initial_setup;
pub mod jobs;
pub mod start_error;
pub mod startup;
