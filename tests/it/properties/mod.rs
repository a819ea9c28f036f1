//! Property tests: rules that hold for every input.

mod decide;
mod generators;
mod oracle;
mod values;
