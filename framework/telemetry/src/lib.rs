//! Traces and metrics under explicit time; sequence diagrams from a trace.
