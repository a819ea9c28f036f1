//! Property tests: rules that hold for every input.

mod decide;
mod facts;
mod oracle;
mod values;
