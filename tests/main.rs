//! The integration tests, one binary: modules are files and folders beside this one.

mod demo;
mod support;
mod tidy;
