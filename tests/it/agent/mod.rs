//! The agents of two organizations on an embedded network.

mod bootstrap;
mod channels;
mod faults;
mod flows;
mod hostile;
mod house;
mod http;
mod killed;
mod reconcile;
mod renewal;
mod sources;
mod world;
