//! `report.html`: one page about a run that needs nothing but itself.
//!
//! [`Report`] is all it says, as plain data: filled from the scenario ([`data::Topology::of`]), from what was measured, and from
//! the trace ([`Report::add_recording`]). [`Report::html`] writes the page. It has no wall-clock time in it and depends
//! on the data alone, so the same seed gives the same bytes; and it loads nothing, from no network.

pub mod data;
pub mod gather;

mod markup;
mod numbers;
mod page;
mod results;
mod topology;

pub use data::Report;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
