//! Peers that fall silent, lie or vanish, on a clock that stands still while nothing happens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::follow::{Follower, GRACE, QUIET};
use super::source::Source;
use super::*;
use crate::client::node::Delivery;
use crate::fabric::block::{data_hash, filtered_block, header_hash};
use crate::fabric::config::ChannelConfig;
use crate::fabric::names::ChannelName;
use crate::pb::common::{BlockData, BlockHeader, Envelope};
use crate::pb::orderer::seek_position::Type as Seek;
use crate::pb::protos::deliver_response::Type as Delivered;

/// A peer that has some blocks and says to have more or fewer.
#[derive(Clone)]
struct Script {
    /// What it delivers; after them it is silent.
    blocks: Vec<Block>,
    height: BlockNumber,
    reachable: bool,
    /// It answers every request for filtered blocks like one that makes no sense to it.
    dislikes: bool,
}

/// Which peer was asked, and from which block on.
type Opening = (usize, Option<BlockNumber>);

#[derive(Clone)]
struct Peers {
    scripts: Arc<Vec<Script>>,
    channel: ChannelName,
    opened: Arc<Mutex<Vec<Opening>>>,
}

fn node(peer: usize) -> NodeName {
    NodeName { name: format!("peer{peer}"), address: format!("peer{peer}") }
}

impl Peers {
    fn new(scripts: Vec<Script>) -> Self {
        let channel = ChannelName::parse("trade").unwrap();
        Self { scripts: Arc::new(scripts), channel, opened: Arc::default() }
    }

    fn number(&self, peer: usize, from: &Seek) -> Option<usize> {
        let blocks = &self.scripts[peer].blocks;
        match from {
            Seek::Oldest(_) => Some(0),
            Seek::Newest(_) => blocks.len().checked_sub(1),
            Seek::Specified(at) => {
                blocks.iter().position(|block| block.header.as_ref().is_some_and(|header| header.number == at.number))
            }
            Seek::NextCommit(_) => None,
        }
    }

    fn blocks(&self, span: impl Into<Span>) -> Pin<Box<dyn Stream<Item = Result<Block, StreamError>> + Send>> {
        Follower::<Block, _>::new(self.clone(), span.into(), watch::Sender::new(false)).stream()
    }

    fn filtered(
        &self,
        span: impl Into<Span>,
    ) -> Pin<Box<dyn Stream<Item = Result<FilteredBlock, StreamError>> + Send>> {
        Follower::<FilteredBlock, _>::new(self.clone(), span.into(), watch::Sender::new(false)).stream()
    }
}

impl Source for Peers {
    type Peer = usize;
    type Open = std::vec::IntoIter<Delivered>;

    fn peers(&self) -> Vec<usize> {
        (0..self.scripts.len()).collect()
    }

    fn channel(&self) -> &ChannelName {
        &self.channel
    }

    fn first(&self) -> usize {
        0
    }

    fn node(&self, peer: &usize) -> NodeName {
        node(*peer)
    }

    async fn open(&self, peer: &usize, delivery: Delivery, from: Seek) -> Result<(Delivered, Self::Open), CallError> {
        let asked = if let Seek::Specified(at) = &from { Some(at.number) } else { None };
        self.opened.lock().unwrap().push((*peer, asked));
        if !self.scripts[*peer].reachable {
            return Err(CallError::Deadline { node: node(*peer), waited: Duration::ZERO });
        }
        let Some(at) = self.number(*peer, &from) else {
            return Err(CallError::Refused { node: node(*peer), status: 404, message: String::new() });
        };
        let shown = |block: &Block| match delivery {
            Delivery::Filtered => {
                filtered_block("trade", block).map_or(Delivered::Status(400), Delivered::FilteredBlock)
            }
            _ => Delivered::Block(block.clone()),
        };
        let script = &self.scripts[*peer];
        if script.dislikes && delivery == Delivery::Filtered {
            return Ok((Delivered::Status(400), Vec::new().into_iter()));
        }
        let mut delivered = script.blocks[at..].iter().map(shown).collect::<Vec<_>>().into_iter();
        Ok((delivered.next().unwrap(), delivered))
    }

    async fn next(open: &mut Self::Open) -> Result<Delivered, CallError> {
        match open.next() {
            Some(delivered) => Ok(delivered),
            None => std::future::pending().await,
        }
    }

    async fn height(&self, peer: &usize) -> Result<BlockNumber, CallError> {
        match &self.scripts[*peer] {
            script if script.reachable => Ok(script.height),
            _ => Err(CallError::Deadline { node: node(*peer), waited: Duration::ZERO }),
        }
    }

    async fn block(&self, peer: &usize, number: BlockNumber) -> Result<Block, CallError> {
        let at = Seek::Specified(crate::pb::orderer::SeekSpecified { number });
        let at = self.number(*peer, &at).ok_or_else(|| CallError::Deadline { node: node(*peer), waited: QUIET })?;
        Ok(self.scripts[*peer].blocks[at].clone())
    }
}

/// Blocks that make a chain.
fn chain(length: BlockNumber) -> Vec<Block> {
    let mut previous = Bytes::new();
    (0..length)
        .map(|number| {
            let data = BlockData { data: vec![Bytes::from(format!("transaction {number}"))] };
            let data_hash = Bytes::copy_from_slice(&data_hash(&data));
            let header = BlockHeader { number, previous_hash: previous.clone(), data_hash };
            previous = Bytes::copy_from_slice(&header_hash(&header));
            Block { header: Some(header), data: Some(data), metadata: None }
        })
        .collect()
}

fn peer(blocks: &[Block], height: BlockNumber) -> Script {
    Script { blocks: blocks.to_vec(), height, reachable: true, dislikes: false }
}

fn number(item: Option<Result<Block, StreamError>>) -> BlockNumber {
    item.unwrap().unwrap().header.unwrap().number
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_beside_a_growing_ledger_is_given_up() {
    let chain = chain(6);
    for (first, second, why) in [
        (peer(&chain[..3], 6), peer(&chain, 6), "it says itself that it has more"),
        (peer(&chain[..3], 3), peer(&chain, 6), "another one has more"),
    ] {
        let peers = Peers::new(vec![first, second]);
        let mut blocks = peers.blocks(Start::Oldest);
        for expected in 0..3 {
            assert_eq!(number(blocks.next().await), expected);
        }
        let begun = Instant::now();
        for expected in 3..6 {
            assert_eq!(number(blocks.next().await), expected, "{why}");
        }
        assert_eq!(begun.elapsed(), QUIET + GRACE, "{why}");
        // The chain is known up to block 2, so it goes on at block 3.
        assert_eq!(*peers.opened.lock().unwrap(), [(0, None), (1, Some(3))], "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_ledger_is_no_reason_to_change_peers() {
    let chain = chain(3);
    let peers = Peers::new(vec![peer(&chain, 3), peer(&chain, 3)]);
    let mut blocks = peers.blocks(Start::Oldest);
    for expected in 0..3 {
        assert_eq!(number(blocks.next().await), expected);
    }
    let day = Duration::from_hours(24);
    assert!(tokio::time::timeout(day, blocks.next()).await.is_err(), "there is nothing to hear");
    assert_eq!(peers.opened.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_peers_it_is_told_and_tried_again_after_a_while() {
    let chain = chain(3);
    let gone = Script { reachable: false, ..peer(&chain, 3) };
    let peers = Peers::new(vec![gone.clone(), gone]);
    let mut blocks = peers.blocks(Start::Number(1));
    let begun = Instant::now();
    for _ in 0..10 {
        let Some(Err(StreamError::Interrupted { failures })) = blocks.next().await else { panic!("nobody is there") };
        assert_eq!(failures.len(), 2);
    }
    assert!(begun.elapsed() > Duration::from_secs(5), "it waits between rounds: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_block_that_breaks_the_chain_is_named_and_had_elsewhere() {
    let good = chain(5);
    let swap = |change: &dyn Fn(&mut Block)| {
        let mut bad = good.clone();
        change(&mut bad[3]);
        Peers::new(vec![peer(&bad, 5), peer(&good, 5)])
    };
    let other_data = swap(&|block| block.data = Some(BlockData { data: vec![Bytes::from_static(b"other")] }));
    let other_chain = swap(&|block| {
        block.header.as_mut().unwrap().previous_hash = Bytes::from_static(&[7; 32]);
    });
    for (peers, expected) in [(other_data, "Block(DataHash"), (other_chain, "Chain")] {
        for start in [Start::Oldest, Start::Number(3)] {
            let mut blocks = peers.blocks(start.clone().until(4));
            let first = if start == Start::Oldest { 0 } else { 3 };
            for before in first..3 {
                assert_eq!(number(blocks.next().await), before);
            }
            let error = blocks.next().await.unwrap().unwrap_err();
            let StreamError::Forged { node, block: 3, source } = &error else { panic!("{error:?}") };
            assert_eq!(node.name, "peer0");
            assert!(format!("{source:?}").starts_with(expected), "{source:?}");
            assert_eq!((number(blocks.next().await), number(blocks.next().await)), (3, 4));
            assert!(blocks.next().await.is_none(), "that was the last one that was asked for");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_span_ends_where_it_was_asked_to() {
    let peers = Peers::new(vec![peer(&chain(5), 5)]);
    let heard = async |span: Span| {
        let blocks: Vec<_> = peers.blocks(span).collect().await;
        blocks.into_iter().map(|block| number(Some(block))).collect::<Vec<_>>()
    };
    assert_eq!(heard(Start::Oldest.until(2)).await, [0, 1, 2]);
    assert_eq!(heard(Start::Number(2).until(2)).await, [2]);
    assert_eq!(heard(Start::Newest.until(4)).await, [4]);
    assert_eq!(heard(Start::Number(3).until(2)).await, [0; 0]);
}

/// A chain in which these blocks hold, beside a good transaction, one that no peer can take apart.
fn chain_with_rubbish(length: BlockNumber, rubbish: &[BlockNumber]) -> Vec<Block> {
    let mut chain = chain(length);
    for number in rubbish {
        let broken = Envelope { payload: Bytes::from_static(b"\xff\xff"), signature: Bytes::new() };
        let data = chain[usize::try_from(*number).unwrap()].data.as_mut().unwrap();
        data.data = vec![broken.encode_to_vec().into(), data.data[0].clone()];
    }
    chain
}

#[tokio::test(start_paused = true)]
async fn a_block_that_peers_cannot_filter_is_passed() {
    // In the middle of a stream, where one begins, many in a row, and as the newest, beside which one waits.
    for (length, rubbish, start, expected) in [
        (6, &[3][..], Start::Oldest, 0..6),
        (6, &[3], Start::Number(3), 3..6),
        (6, &[0], Start::Oldest, 0..6),
        (6, &[1, 2, 3, 4], Start::Number(2), 2..6),
        (6, &[5], Start::Newest, 5..6),
    ] {
        let peers = Peers::new(vec![peer(&chain_with_rubbish(length, rubbish), length)]);
        let begun = Instant::now();
        let blocks: Vec<_> = peers.filtered(start.clone().until(5)).collect().await;
        let numbers: Vec<_> = blocks.into_iter().map(|block| block.unwrap().number).collect();
        assert_eq!(numbers, expected.collect::<Vec<_>>(), "{rubbish:?} from {start:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO, "nothing to wait for");
        assert_eq!(peers.opened.lock().unwrap().len(), 1, "the peer goes on by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_of_the_future_is_waited_for_beside_one_that_cannot_be_filtered() {
    let peers = Peers::new(vec![peer(&chain_with_rubbish(6, &[4, 5]), 6)]);
    let said = watch::Sender::new(false);
    let span = Span::from(Start::Number(6));
    let mut blocks = Follower::<FilteredBlock, _>::new(peers.clone(), span, said.clone()).stream();
    let day = Duration::from_hours(24);
    assert!(tokio::time::timeout(day, blocks.next()).await.is_err(), "there is nothing to hear yet");
    assert!(*said.borrow(), "the stream is open");
    assert_eq!(*peers.opened.lock().unwrap(), [(0, Some(5))]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dislikes_the_request_is_not_taken_for_one_that_cannot_filter() {
    let disliking = |blocks: &[Block]| Script { dislikes: true, ..peer(blocks, 4) };
    let good = chain(4);
    let peers = Peers::new(vec![disliking(&good), peer(&good, 4)]);
    let numbers: Vec<_> = peers.filtered(Start::Oldest.until(3)).map(|block| block.unwrap().number).collect().await;
    assert_eq!(numbers, [0, 1, 2, 3]);

    let peers = Peers::new(vec![disliking(&good)]);
    let error = peers.filtered(Start::Oldest).next().await.unwrap().unwrap_err();
    let StreamError::Interrupted { failures } = &error else { panic!("{error:?}") };
    assert!(matches!(&failures[..], [CallError::Refused { status: 400, .. }]), "{error:?}");

    // Even where nothing can be filtered it is not asked without pause.
    let peers = Peers::new(vec![disliking(&chain_with_rubbish(4, &[3]))]);
    let mut blocks = peers.filtered(Start::Number(4));
    let minute = Duration::from_mins(1);
    assert!(tokio::time::timeout(minute, blocks.next()).await.is_err(), "there is nothing to hear");
    let asked = peers.opened.lock().unwrap().len();
    assert!(asked < 60, "{asked} times in a minute");
}

fn golden(case: &str) -> Block {
    let path = format!("{}/testdata/golden/blocks/{case}/block.pb", env!("CARGO_MANIFEST_DIR"));
    Block::decode(&std::fs::read(path).unwrap()[..]).unwrap()
}

/// What the orderers' signatures are worth, with blocks of a real network.
#[tokio::test(start_paused = true)]
async fn signatures_are_judged_by_the_configuration_of_their_time() {
    let first = || ["00-genesis", "01-approve-golden", "02-approve-golden", "03-commit-golden"].map(golden).to_vec();
    let config = |case: &str| ChannelConfig::from_block(&golden(case)).unwrap();
    let peers = Peers::new(vec![peer(&first(), 4)]);
    for span in [
        Start::Oldest.until(3).verified(),
        Start::Oldest.until(3).verified().trusting(config("00-genesis")),
        Start::Number(2).until(3).verified(),
    ] {
        let all: Vec<_> = peers.blocks(span).collect().await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    let mut other = peers.blocks(Start::Oldest.verified().trusting(config("26-config-update")));
    let error = other.next().await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Forged { block: 0, source: Flaw::Genesis, .. }), "{error:?}");

    // A chain of its own, which no orderer has signed.
    let mut forged = first();
    let data = BlockData { data: vec![Bytes::from_static(b"mine")] };
    let header = forged[3].header.as_mut().unwrap();
    header.data_hash = Bytes::copy_from_slice(&data_hash(&data));
    forged[3].data = Some(data);
    let peers = Peers::new(vec![peer(&forged, 4)]);
    let unsigned: Vec<_> = peers.blocks(Start::Oldest.until(3)).collect().await;
    assert!(unsigned.iter().all(Result::is_ok), "without being asked nobody looks at signatures");
    let mut blocks = peers.blocks(Start::Number(2).until(3).verified());
    assert_eq!(number(blocks.next().await), 2);
    let error = blocks.next().await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Forged { block: 3, source: Flaw::Config(_), .. }), "{error:?}");

    // A configuration that passes is the one by which what follows is judged.
    let peers = Peers::new(vec![peer(&[golden("26-config-update"), golden("27-after-config")], 28)]);
    let updated = Start::Number(26).until(27).verified().trusting(config("00-genesis"));
    let all: Vec<_> = peers.blocks(updated).collect().await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let learnt: Vec<_> = peers.blocks(Start::Number(27).until(27).verified()).collect().await;
    assert!(learnt.iter().all(Result::is_ok), "{learnt:?}");
    // Without the block that set it nothing can be said.
    let peers = Peers::new(vec![peer(&[golden("27-after-config")], 28)]);
    let error = peers.blocks(Start::Number(27).verified()).next().await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Unjudged { block: 27, .. }), "{error:?}");
}
