//! The scenario on the real kernel: network namespaces, real processes in them, the simulator's internet between them.
//!
//! [`plan`] says what stands where, without touching anything. [`run`] lets a scenario run and writes the same files as a
//! simulated run. What a lab makes bears its name ([`standing`]), so that all of it can be removed by anybody at any time.
//!
//! Servers are `ntm serve`, nodes are processes of their own ([`resident`]), and who is between them is decided network by
//! network: the kernel translates where its NAT does exactly what the scenario says ([`translation`]), the simulator's model
//! everywhere else; every link's delay and loss is the model's ([`internet`]).

mod agenda;
mod chronicle;
pub mod conditions;
mod crew;
mod files;
mod grounds;
pub mod internet;
pub mod keeper;
mod kernel;
pub mod outfit;
pub mod plan;
mod process;
pub mod resident;
pub mod run;
pub mod standing;
pub mod translation;
