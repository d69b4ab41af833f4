//! The integration tests, one binary: modules are files and folders beside this one.

mod baresip;
mod callbacks;
mod calls;
mod conference;
mod conformance;
mod crash;
mod demo;
mod digest;
mod edge;
mod events;
mod faults;
mod fuzz;
mod recordings;
mod reload;
mod robust;
mod satisfaction;
mod sim;
mod sip;
mod sites;
mod supervision;
mod support;
mod sweep;
mod tidy;
mod transports;
mod transfers;
mod trunks;
