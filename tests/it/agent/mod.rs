//! The agents of two organizations on an embedded network.

mod bft;
mod bootstrap;
mod certificates;
mod channels;
mod crash;
mod crash_amid;
mod doomed;
mod faults;
mod faults_clock;
mod faults_many;
mod faults_nodes;
mod faults_store;
mod flows;
mod hostile;
mod house;
mod http;
mod killed;
mod membership;
mod notifier;
mod process;
mod program;
mod reconcile;
mod refused;
mod renewal;
mod sources;
#[cfg(feature = "otlp")]
mod spans;
mod system_channel;
mod tls;
mod world;
