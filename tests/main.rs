//! The integration tests, one binary: modules are files and folders beside this one.

mod sim;
mod tidy;
