//! Property tests: rules that hold for every input.

mod boundaries;
mod decide;
mod exhaustive;
mod generators;
mod oracle;
mod owners;
mod values;
