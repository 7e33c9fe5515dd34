//! An entity on a real host.
