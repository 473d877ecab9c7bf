//! A client whose key is in another process: digests go to it through a Unix socket, signatures come back.
//!
//! The signer, in its own terminal, perhaps as its own user: `cargo run --example external_signer -- sign key.pem SOCKET`
//!
//! The client, which has no key: `cargo run --example external_signer -- submit profile.yaml Org1MSP cert.pem SOCKET
//! mychannel basic CreateAsset a1 blue 5 Tomoko 300`
//!
//! A request is 32 bytes of digest; the answer is the signature's length in one byte and the signature. A real signer
//! would ask who connects; here the permissions of the socket's folder do.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opssc::client::{Client, Endorsers, profile::ConnectionProfile};
use opssc::fabric::identity::{Certificate, ExternalSigner, SignRequest};
use opssc::fabric::names::{ChannelName, MspId};
use opssc::fabric::tx::Invocation;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::DecodePrivateKey as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["sign", key, socket] => sign(key.as_ref(), socket.as_ref()).await,
        ["submit", profile, msp_id, certificate, socket, channel, chaincode, function, call @ ..] => {
            let certificate = Certificate::from_pem(&std::fs::read(certificate)?)?;
            let signer = external(MspId::parse(*msp_id)?, certificate, socket.into());
            let client = Client::builder(Arc::new(signer), ConnectionProfile::load(profile.as_ref())?).build()?;
            let call =
                call.iter().fold(Invocation::new(*chaincode, *function), |call, arg| call.arg((*arg).to_owned()));
            submit(&client.channel(ChannelName::parse(*channel)?), &call).await
        }
        _ => {
            Err("usage: external_signer sign KEY SOCKET | submit PROFILE MSP_ID CERTIFICATE SOCKET CHANNEL CHAINCODE \
                  FUNCTION ARGUMENTS"
                .into())
        }
    }
}

/// The identity that asks the other process. What comes back is checked and brought into Fabric's form.
fn external(msp_id: MspId, certificate: Certificate, socket: PathBuf) -> ExternalSigner {
    ExternalSigner::new(msp_id, certificate, move |request| {
        let socket = socket.clone();
        async move {
            let SignRequest::Digest(digest) = request else { return Err("the signer knows ECDSA only".into()) };
            let mut signer = UnixStream::connect(&socket).await?;
            signer.write_all(&digest).await?;
            let mut signature = vec![0; signer.read_u8().await?.into()];
            signer.read_exact(&mut signature).await?;
            Ok(signature)
        }
    })
}

#[allow(clippy::print_stdout, reason = "it is for people to read")]
async fn submit(channel: &opssc::client::Channel, call: &Invocation) -> Result<(), Failure> {
    let committed = channel.submit(call, Endorsers::Discovered).await?;
    println!("transaction {} is in block {}", committed.tx_id, committed.block);
    Ok(())
}

/// The other process: the only one that reads the key.
#[allow(clippy::print_stdout, reason = "it is for people to read")]
async fn sign(key: &Path, socket: &Path) -> Result<(), Failure> {
    let key = p256::ecdsa::SigningKey::from_pkcs8_pem(&std::fs::read_to_string(key)?)?;
    let listener = UnixListener::bind(socket)?;
    println!("signing");
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut digest = [0; 32];
        if client.read_exact(&mut digest).await.is_err() {
            continue;
        }
        let signature: p256::ecdsa::Signature = key.sign_prehash(&digest)?;
        let signature = signature.to_der();
        let bytes = signature.as_bytes();
        // A client that hung up is no reason to stop.
        let answer = [&[u8::try_from(bytes.len())?], bytes].concat();
        let _ = client.write_all(&answer).await;
    }
}
