//! Rules that hold for every input, tried on many.

mod decide;
mod facts;
mod oracle;
mod values;
