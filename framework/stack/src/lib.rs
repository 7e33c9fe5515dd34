//! A user-space TCP and UDP stack over any packet carrier: virtual sockets and the simulator's TCP.
