//! A way for `crate::fuzzing` to what a chaincode sends over its stream.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connection::{ChaincodeStream, Request};
use super::handler::is_request;
use crate::devnet::peer::context::TransactionContext;
use crate::pb::protos::chaincode_message::Type;
use crate::pb::protos::{ChaincodeInput, ChaincodeMessage, SignedProposal};
use crate::runtime::Workers;

/// Has the transaction `t` run on `context` by a chaincode that sends `messages`; judges what it is sent, and gives it.
pub(in crate::devnet::peer) async fn converse(
    messages: Vec<ChaincodeMessage>,
    context: Arc<dyn TransactionContext>,
    channel: &str,
    workers: &Workers,
) -> Vec<ChaincodeMessage> {
    let requests = messages.iter().filter(|message| is_request(message.r#type())).count();
    // Room for everything: nobody reads while messages come.
    let (outbox, mut sent) = mpsc::channel(messages.len() + 1);
    let stream = ChaincodeStream::new("asset_1:0123", outbox, workers);
    let request = Request {
        channel: channel.to_owned(),
        tx_id: "t".to_owned(),
        input: ChaincodeInput::default(),
        proposal: SignedProposal::default(),
        is_init: false,
    };
    let send = async {
        for message in messages {
            if stream.take(message, workers).await.is_err() {
                break;
            }
            // Calls of other chaincodes run beside this, and are waited for like any other answer.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        // Calls of other chaincodes come to their ends by themselves.
        workers.finished().await.expect("no worker panics");
        stream.end();
    };
    let (_, ()) = tokio::join!(stream.execute(request, context), send);
    assert!(stream.is_ended());
    let begun = sent.try_recv().expect("the transaction");
    assert_eq!((begun.r#type(), begun.txid.as_str()), (Type::Transaction, "t"));
    let mut answers = Vec::new();
    while let Ok(message) = sent.try_recv() {
        assert!(matches!(message.r#type(), Type::Response | Type::Error), "{message:?} is no answer");
        answers.push(message);
    }
    assert!(answers.len() <= requests, "{} answers to {requests} requests", answers.len());
    answers
}
