//! Experiment binaries and the ntm command.
