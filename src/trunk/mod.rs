//! Trunks (中继): which may be used, by how many calls at once, and what may be dialled over them.

pub mod event;

mod bucket;
pub mod dialling;
mod health;
mod registration;
pub mod rules;
mod trunks;

#[cfg(test)]
pub(crate) mod tests;

pub use dialling::Dialling;
pub use trunks::Trunks;
