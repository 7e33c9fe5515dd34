//! The resolver against scripted servers: what it finds, in how many round trips, and what it does not let itself be told.

mod finding;
mod hostile;
mod input;
mod world;
