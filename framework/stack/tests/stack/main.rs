//! The stack between two ends of a pipe, under virtual time.

mod pipe;
mod tcp;
mod udp;
