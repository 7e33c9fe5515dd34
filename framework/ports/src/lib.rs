//! The async edges of an entity: network, clock, computation, storage, authentication; and the registry of plugins.
