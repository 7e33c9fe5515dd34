//! The simulated internet and its virtual time.
