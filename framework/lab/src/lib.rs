//! From a scenario to a world, a run, a record and a report.
