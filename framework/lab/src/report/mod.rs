//! `report.html`: one page about a run that needs nothing but itself.
//!
//! [`Report`] is all it says, as plain data; [`Report::html`] writes the page. It has no wall-clock time in it and depends
//! on the data alone, so the same seed gives the same bytes; and it loads nothing, from no network.

pub mod data;

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
