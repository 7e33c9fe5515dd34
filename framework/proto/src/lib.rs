//! The protocol as sans-IO machines: no sockets, no clock, no chance, no async.
