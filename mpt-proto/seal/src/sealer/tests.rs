//! Two sealers over paths in virtual time, and what happens on the way.

mod adversary;
mod handshakes;
mod promises;
mod world;
