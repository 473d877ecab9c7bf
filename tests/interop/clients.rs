//! Fabric's own client and chaincode libraries for Node.js, as applications use them.
//!
//! Each script deploys a chaincode of its own, which `fabric-shim` serves to the embedded peers.

use crate::embedded::Embedded;
use crate::node::Node;

async fn runs(script: &str) {
    let Some(node) = Node::find(script).await else { return };
    let network = Embedded::start().await;
    let said = node.run(script, &[&network.describe()]).await;
    assert!(said.lines().count() > 5, "{script} has tested next to nothing: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_client_works() {
    runs("gateway.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_client_works() {
    runs("legacy.mjs").await;
}
