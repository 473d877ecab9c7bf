//! Settings of the nodes, and the connection profiles of their clients.
//!
//! Only what differs from the nodes' own defaults, or what they refuse to start without. Gossip is told to be quick: the
//! defaults are made for wide networks and would make each start take half a minute.

use std::fs;

use serde_json::{Map, Value, json};

use super::binaries::Binaries;
use super::channels::SYSTEM_CHANNEL;
use super::layout::{Layout, Node, Orderer, Organization, Peer};
use super::process::write_yaml;

/// 100 MiB, for chaincode packages.
const LARGEST_MESSAGE: u32 = 100 << 20;

/// Writes `core.yaml` and `orderer.yaml` for every node and a connection profile for every organization.
pub fn write(binaries: &Binaries, layout: &Layout) {
    for organization in &layout.organizations {
        for peer in &organization.peers {
            write_yaml(&peer.directory.join("core.yaml"), &core(binaries, layout, organization, peer));
        }
        for orderer in &organization.orderers {
            write_yaml(&orderer.directory.join("orderer.yaml"), &orderer_settings(layout, organization, orderer));
            if layout.options.system_channel {
                let copied = fs::copy(layout.genesis_block(SYSTEM_CHANNEL), orderer.first_block());
                copied.expect("a first block for each orderer");
            }
        }
        write_yaml(&organization.connection_profile, &connection_profile(layout, organization));
    }
}

fn core(binaries: &Binaries, layout: &Layout, organization: &Organization, peer: &Peer) -> Value {
    let endpoint = peer.endpoint.to_string();
    let chaincode = peer.chaincode.to_string();
    let data = peer.directory.join("data");
    json!({
        "peer": {
            "id": peer.name,
            "networkId": "real-fabric",
            "localMspId": organization.msp_id,
            "localMspType": "bccsp",
            "mspConfigPath": peer.msp(),
            "BCCSP": bccsp(),
            "fileSystemPath": data,
            "listenAddress": endpoint,
            "address": endpoint,
            "chaincodeListenAddress": chaincode,
            "chaincodeAddress": chaincode,
            "tls": {
                "enabled": true,
                "cert": {"file": peer.tls_certificate()},
                "key": {"file": peer.tls_key()},
                "rootcert": {"file": peer.tls_ca()},
                "clientAuthRequired": layout.options.mutual_tls,
                "clientRootCAs": {"files": tls_roots(layout, organization)},
            },
            "keepalive": {"minInterval": "60s"},
            "authentication": {"timewindow": "15m"},
            "client": {"connTimeout": "3s"},
            "gateway": {"enabled": true, "endorsementTimeout": "30s", "broadcastTimeout": "30s", "dialTimeout": "2m"},
            "discovery": {"enabled": true, "authCacheEnabled": true},
            "limits": {"concurrency": {"endorserService": 2500, "deliverService": 2500, "gatewayService": 500}},
            "maxRecvMsgSize": LARGEST_MESSAGE,
            "maxSendMsgSize": LARGEST_MESSAGE,
            "deliveryclient": {
                "blockGossipEnabled": false,
                "connTimeout": "3s",
                "reConnectBackoffThreshold": "10s",
                "reconnectTotalTimeThreshold": "3600s",
                "minimalReconnectInterval": "100ms",
                "blockCensorshipTimeoutKey": "30s",
                "policy": "cluster",
            },
            "handlers": {
                "authFilters": filters(binaries),
                "decorators": [{"name": "DefaultDecorator"}],
                "endorsers": {"escc": {"name": "DefaultEndorsement"}},
                "validators": {"vscc": {"name": "DefaultValidation"}},
            },
            "gossip": gossip(organization, &endpoint),
        },
        // No Docker: chaincode runs as a service.
        "vm": {"endpoint": ""},
        "chaincode": {
            "mode": "net",
            "externalBuilders": [{
                "name": "ccaas",
                "path": binaries.ccaas(),
                "propagateEnvironment": ["CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG"],
            }],
            "installTimeout": "60s",
            "startuptimeout": "30s",
            "executetimeout": "30s",
            "system": {"_lifecycle": "enable", "cscc": "enable", "lscc": "enable", "qscc": "enable"},
            "logging": {"level": "info", "shim": "warning"},
        },
        "ledger": {
            "state": {"stateDatabase": "goleveldb", "totalQueryLimit": 100_000},
            "history": {"enableHistoryDatabase": true},
            "pvtdataStore": {
                "collElgProcMaxDbBatchSize": 5000,
                "collElgProcDbBatchesInterval": 1000,
                "deprioritizedDataReconcilerInterval": "60m",
                "purgeInterval": 100,
            },
            "snapshots": {"rootDir": data.join("snapshots")},
        },
        "operations": {"listenAddress": peer.operations.to_string()},
        "metrics": {"provider": "prometheus"},
    })
}

/// What stands before an endorser, as the nodes' own settings have it; clocks are compared since 3.0.
fn filters(binaries: &Binaries) -> Value {
    let mut names = vec!["DefaultAuth", "ExpirationCheck"];
    if !binaries.version().trim_start_matches('v').starts_with("2.") {
        names.push("TimeWindowCheck");
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}

fn gossip(organization: &Organization, endpoint: &str) -> Value {
    json!({
        "bootstrap": organization.peers[0].endpoint.to_string(),
        "endpoint": endpoint,
        "externalEndpoint": endpoint,
        "useLeaderElection": false,
        "orgLeader": true,
        "membershipTrackerInterval": "1s",
        "publishStateInfoInterval": "500ms",
        "requestStateInfoInterval": "500ms",
        "aliveTimeInterval": "500ms",
        "aliveExpirationTimeout": "10s",
        "reconnectInterval": "1s",
        "dialTimeout": "1s",
        "connTimeout": "1s",
        "pullInterval": "1s",
        "state": {"enabled": true, "checkInterval": "1s"},
        "pvtData": {
            "pullRetryThreshold": "5s",
            "pushAckTimeout": "3s",
            "transientstoreMaxBlockRetention": 1000,
            "btlPullMargin": 10,
            "reconciliationEnabled": true,
            "reconcileBatchSize": 10,
            "reconcileSleepInterval": "5s",
            "implicitCollectionDisseminationPolicy": {"requiredPeerCount": 0, "maxPeerCount": 1},
        },
    })
}

fn orderer_settings(layout: &Layout, organization: &Organization, orderer: &Orderer) -> Value {
    let data = orderer.data();
    let roots = tls_roots(layout, organization);
    let first_block = layout.options.system_channel.then(|| orderer.first_block());
    json!({
        "General": {
            "ListenAddress": orderer.endpoint.address().ip(),
            "ListenPort": orderer.endpoint.number(),
            "TLS": server_tls(orderer, layout.options.mutual_tls, &json!(roots)),
            "Keepalive": {"ServerMinInterval": "60s", "ServerInterval": "7200s", "ServerTimeout": "20s"},
            "MaxRecvMsgSize": LARGEST_MESSAGE,
            "MaxSendMsgSize": LARGEST_MESSAGE,
            "Cluster": {
                "SendBufferSize": 100,
                "ClientCertificate": orderer.tls_certificate(),
                "ClientPrivateKey": orderer.tls_key(),
                "RootCAs": roots,
            },
            "BootstrapMethod": if first_block.is_some() { "file" } else { "none" },
            "BootstrapFile": first_block,
            "LocalMSPDir": orderer.msp(),
            "LocalMSPID": organization.msp_id,
            "BCCSP": bccsp(),
            "Authentication": {"TimeWindow": "15m"},
        },
        "FileLedger": {"Location": data},
        "Operations": {"ListenAddress": orderer.operations.to_string()},
        "Metrics": {"Provider": "disabled"},
        "Admin": {
            "ListenAddress": orderer.admin.to_string(),
            "TLS": server_tls(orderer, true, &json!([organization.tls_ca()])),
        },
        "ChannelParticipation": {"Enabled": true, "MaxRequestBodySize": "1 MB"},
        "Consensus": {"WALDir": data.join("consensus/wal"), "SnapDir": data.join("consensus/snapshot")},
    })
}

fn server_tls(orderer: &Orderer, client_authentication: bool, client_roots: &Value) -> Value {
    json!({
        "Enabled": true,
        "Certificate": orderer.tls_certificate(),
        "PrivateKey": orderer.tls_key(),
        "RootCAs": [orderer.tls_ca()],
        "ClientAuthRequired": client_authentication,
        "ClientRootCAs": client_roots,
    })
}

/// The authorities behind the TLS certificates of those that an organization's nodes know of.
fn tls_roots(layout: &Layout, organization: &Organization) -> Vec<std::path::PathBuf> {
    layout.known_to(organization).map(Organization::tls_ca).collect()
}

fn bccsp() -> Value {
    json!({"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}})
}

/// The own peers, and every orderer with the own one first, reached as 127.0.0.1 under their host names.
fn connection_profile(layout: &Layout, organization: &Organization) -> Value {
    let own_first = std::iter::once(organization)
        .chain(layout.known_to(organization).filter(|other| other.msp_id != organization.msp_id));
    let orderers = own_first
        .flat_map(|owner| &owner.orderers)
        .map(|orderer| (orderer.name.clone(), endpoint(&orderer.name, &orderer.endpoint.to_string(), orderer)));
    let peers = organization.peers.iter();
    let peers = peers.map(|peer| (peer.name.clone(), endpoint(&peer.name, &peer.endpoint.to_string(), peer)));
    let names: Vec<_> = organization.peers.iter().map(|peer| peer.name.as_str()).collect();
    let mut client = json!({"organization": organization.name});
    if layout.options.mutual_tls {
        client["tlsCerts"] = json!({"client": {
            "cert": {"path": organization.admin_tls_certificate()},
            "key": {"path": organization.admin_tls_key()},
        }});
    }
    json!({
        "name": "real-fabric",
        "version": "1.0.0",
        "client": client,
        "organizations": {organization.name.as_str(): {"mspid": organization.msp_id, "peers": names}},
        "peers": peers.collect::<Map<_, _>>(),
        "orderers": orderers.collect::<Map<_, _>>(),
    })
}

fn endpoint(name: &str, address: &str, node: &impl Node) -> Value {
    json!({
        "url": format!("grpcs://{address}"),
        "tlsCACerts": {"path": node.tls_ca()},
        "grpcOptions": {"ssl-target-name-override": name, "hostnameOverride": name},
    })
}
