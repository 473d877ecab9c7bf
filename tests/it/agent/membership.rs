//! An organization that leaves a channel and comes back with an orderer, by votes that agents carry out.

use opssc::fabric::config::edit::Operation;
use opssc::fabric::config::update;
use serde_json::{Value, json};

use super::channels::{config, propose, until_committed};
use super::world::{World, mychannel, within};

/// Has these operations voted for and carried out. Gives the members that the ledger knows then.
async fn change(world: &World, id: &str, operations: Value) -> Vec<String> {
    let before = config(world).await;
    let mut after = before.clone();
    for operation in Operation::parse_all(&operations.to_string()).unwrap() {
        operation.apply(&mut after, Some(world.folder.path())).unwrap();
    }
    let update = update::compute(mychannel().as_str(), &before, &after).unwrap().encode();
    propose(world, id, &update).await;
    until_committed(world, id).await;
    world.network.settled(world.network.ops_channel()).await;
    let ledger = world.members[0].channel_ops(world);
    within("the members", ledger.get_organizations_in_channel(mychannel().as_str())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_leaves_and_comes_back_with_an_orderer() {
    let world = World::start_with(|builder| builder.organizations(3)).await;
    let agents = world.agents().await;
    let third = &world.network.organizations()[2];
    let (two, three) = (["Org1MSP", "Org2MSP"], ["Org1MSP", "Org2MSP", "Org3MSP"]);

    let leaving = json!([{"Command": "remove-org", "Parameters": {"OrgType": "Application", "OrgName": "Org3MSP"}}]);
    assert_eq!(change(&world, "leave", leaving).await, two);
    let application = |config: opssc::fabric::config::tree::Config| {
        let application = config.channel_group.unwrap().groups.remove("Application").unwrap();
        application.groups.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(application(config(&world).await), two);

    let certificate = std::fs::read_to_string(&third.admin_tls_certificate).unwrap();
    let policy = |roles: &str| json!({"Type": "Signature", "Rule": format!("OR('Org3MSP.{roles}')")});
    let organization = json!({
        "Name": "Org3MSP", "ID": "Org3MSP", "MSPDir": third.msp,
        "Policies": {
            "Readers": policy("member"), "Writers": policy("member"),
            "Admins": policy("admin"), "Endorsement": policy("peer"),
        },
    });
    let consenter = json!({"Host": "orderer.example.com", "Port": 7050, "ClientTLSCert": certificate, "ServerTLSCert": certificate});
    let returning = json!([
        {"Command": "set-org", "Parameters": {"OrgType": "Application", "Org": organization}},
        {"Command": "set-consenter", "Parameters": {"Consenter": consenter}},
    ]);
    assert_eq!(change(&world, "return", returning).await, three);
    assert_eq!(application(config(&world).await), three);

    // What names no organization leaves the list alone.
    let acls =
        json!([{"Command": "set-acls", "Parameters": {"ACLs": {"qscc/GetChainInfo": "/Channel/Application/Readers"}}}]);
    assert_eq!(change(&world, "acls", acls).await, three);
    let consenter =
        json!([{"Command": "remove-consenter", "Parameters": {"ConsenterAddress": "orderer.example.com:7050"}}]);
    assert_eq!(change(&world, "shrink", consenter).await, three);
    for agent in agents {
        agent.stop().await;
    }
}
