//! Submission: a signed transaction goes to the orderers of its channel.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/submit.go`.

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tonic::{Code, Status};

use super::status::{rpc_error, with_details};
use super::{Gatekeeper, shuffle};
use crate::devnet::peer::discovery;
use crate::pb::common::{self, Envelope};
use crate::pb::gateway::{ErrorDetail, SubmitRequest, SubmitResponse};
use crate::pb::orderer::BroadcastResponse;

/// What a BFT orderer says that has the transaction already.
const KNOWN: &str = "failed to submit request: request already exists";

/// An orderer as the channel's configuration names it.
struct Orderer {
    address: String,
    msp_id: String,
}

impl Orderer {
    fn detail(&self, message: impl Into<String>) -> ErrorDetail {
        ErrorDetail { address: self.address.clone(), msp_id: self.msp_id.clone(), message: message.into() }
    }
}

fn refusal(response: &BroadcastResponse) -> String {
    let status = common::Status::try_from(response.status).map_or("", |status| status.as_str_name());
    format!("received unsuccessful response from orderer: status={status}, info={}", response.info)
}

impl Gatekeeper {
    /// Hands a transaction to the ordering service.
    pub(super) async fn submit_transaction(&self, request: SubmitRequest) -> Result<SubmitResponse, Status> {
        let Some(transaction) = request.prepared_transaction else {
            return Err(Status::invalid_argument("a prepared transaction is required"));
        };
        if transaction.signature.is_empty() {
            return Err(Status::invalid_argument("prepared transaction must be signed"));
        }
        let channel = self.configured(&request.channel_id).map_err(|error| Status::failed_precondition(error.0))?;
        let access = channel.access();
        let config = discovery::config(&access).ok_or_else(|| {
            Status::failed_precondition(format!(
                "failed to get config for channel [{}]: config is invalid",
                request.channel_id
            ))
        })?;
        let of_organization = |(msp_id, endpoints): (String, crate::pb::discovery::Endpoints)| {
            let orderer = move |endpoint: crate::pb::discovery::Endpoint| Orderer {
                address: format!("{}:{}", endpoint.host, endpoint.port),
                msp_id: msp_id.clone(),
            };
            endpoints.endpoint.into_iter().map(orderer).collect::<Vec<_>>()
        };
        let mut orderers: Vec<_> = config.orderers.into_iter().flat_map(of_organization).collect();
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        if access.consensus().kind == "BFT" {
            return self.submit_to_all(&orderers, &transaction).await;
        }
        shuffle(&mut orderers);
        self.submit_to_one(&orderers, &transaction).await
    }

    /// The first orderer that takes it suffices.
    async fn submit_to_one(&self, orderers: &[Orderer], transaction: &Envelope) -> Result<SubmitResponse, Status> {
        let mut errors = Vec::new();
        for orderer in orderers {
            let response = match self.topology.broadcast(&orderer.address, transaction.clone()).await {
                Ok(response) => response,
                Err(error) => {
                    errors.push(orderer.detail(rpc_error(&error)));
                    continue;
                }
            };
            match response.status {
                200 => return Ok(SubmitResponse {}),
                // Every orderer would say so.
                400..500 => return Err(Status::aborted(refusal(&response))),
                _ => {}
            }
        }
        Err(with_details(Code::Unavailable, "no orderers could successfully process transaction", &errors))
    }

    /// So many orderers have to take it that a majority of the honest ones has it.
    async fn submit_to_all(&self, orderers: &[Orderer], transaction: &Envelope) -> Result<SubmitResponse, Status> {
        let total = orderers.len();
        let faulty = (total - 1) / 3;
        let quorum = (total + faulty + 1).div_ceil(2);
        let mut answers: FuturesUnordered<_> = orderers
            .iter()
            .map(|orderer| async move {
                let answer = self.topology.broadcast(&orderer.address, transaction.clone()).await;
                (orderer, answer)
            })
            .collect();
        let (mut successes, mut errors) = (0, Vec::new());
        while let Some((orderer, answer)) = answers.next().await {
            match answer {
                Ok(response) if response.status == 200 || (response.status == 503 && response.info == KNOWN) => {
                    successes += 1;
                    if successes >= quorum {
                        return Ok(SubmitResponse {});
                    }
                }
                Ok(response) => errors.push(orderer.detail(refusal(&response))),
                Err(error) => errors.push(orderer.detail(rpc_error(&error))),
            }
            if errors.len() > total - quorum {
                break;
            }
        }
        let message =
            "insufficient number of orderers could successfully process transaction to satisfy quorum requirement";
        Err(with_details(Code::Unavailable, message, &errors))
    }
}
