//! The ports of an entity on the operating system.
