//! The named protocol strategies, one file each.
