//! The integration tests, one binary: modules are files and folders beside this one.

mod calls;
mod digest;
mod support;
mod tidy;
