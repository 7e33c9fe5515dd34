//! The simulated internet, observed from its hosts alone.

mod driven;
mod echo;
mod firewall;
mod icmp;
mod outside;
mod properties;
mod rfc4787;
mod tcp;
