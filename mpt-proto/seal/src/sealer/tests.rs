//! Two sealers over paths in virtual time, and what happens on the way.

mod adversary;
mod checks;
mod handshakes;
mod hostile;
mod promises;
mod world;
