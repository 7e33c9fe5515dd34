//! The named ways to authenticate, one file each.
