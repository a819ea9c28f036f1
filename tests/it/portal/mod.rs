//! Key management in a browser: portal sessions, hosted pages and the console.

pub mod console;
pub mod hosted_pages;
pub mod key_management;
