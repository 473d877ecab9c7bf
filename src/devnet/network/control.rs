//! Orders to a running network from outside of its process, over a socket in its folder.
//!
//! A module of its own because it is the network's second front door: whoever may open the socket, which is nobody but
//! the user that runs the network, may stop nodes and set their switches.
//!
//! One line of JSON is an order, one line is the answer, then the connection ends. No TCP: other users of the machine
//! have no business here.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tonic::Code;

use super::Devnet;
use super::node::Node;
use crate::devnet::error::DevnetError;
use crate::runtime::Workers;

/// The socket's name in the network's folder.
const SOCKET: &str = "control.sock";
/// Longer orders and answers are none.
const MAX_LINE: u64 = 1 << 20;
/// For how long a connection may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a network is to do. A node is named as `peer0.org1`, by its full name, or is `all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// Tell the nodes, and which of them run.
    Nodes,
    /// Stop a node.
    Stop {
        /// Which.
        node: String,
    },
    /// Start a stopped node.
    Start {
        /// Which.
        node: String,
    },
    /// Delay all calls.
    Delay {
        /// Of which node.
        node: String,
        /// By how much; 0 ends it.
        ms: u64,
    },
    /// Answer nothing.
    Hang {
        /// Which node.
        node: String,
        /// Or do so again.
        on: bool,
    },
    /// Break streams in the middle of messages.
    Cut {
        /// Of which node.
        node: String,
        /// How many.
        count: u32,
    },
    /// Fail calls.
    Fail {
        /// Of which node.
        node: String,
        /// How many.
        count: u32,
        /// With which status code of gRPC, by number.
        code: i32,
    },
    /// Send rubbish instead of messages.
    Garbage {
        /// From which node.
        node: String,
        /// How many times.
        count: u32,
    },
    /// Endorse something else than the others.
    Diverge {
        /// Which peer.
        node: String,
        /// How many times.
        count: u32,
    },
    /// Be late with every block.
    SlowBlocks {
        /// Which node.
        node: String,
        /// By how much; 0 ends it.
        ms: u64,
    },
    /// Let a clock go wrong.
    Clock {
        /// Of which node.
        node: String,
        /// By how much; below 0 for the past.
        offset_ms: i64,
    },
    /// Nothing is wrong any more; a stopped node stays so.
    Clear {
        /// With which node.
        node: String,
    },
}

/// A node as [`Order::Nodes`] tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeState {
    /// Such as `peer0.org1`.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Whether it runs.
    pub up: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeState>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No network listens in that folder.
    #[error("no embedded network listens at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The network went away, or is no network.
    #[error("the embedded network did not answer")]
    Answer(#[source] io::Error),
    /// The network's words.
    #[error("the embedded network refused: {0}")]
    Refused(String),
}

/// Gives an order to the network that runs in `folder`, and returns the nodes where it asks for them.
///
/// Cancel safety: the order may be carried out all the same.
///
/// # Errors
/// [`ControlError`].
pub async fn control(folder: &Path, order: &Order) -> Result<Vec<NodeState>, ControlError> {
    let path = folder.join(SOCKET);
    let stream = UnixStream::connect(&path).await.map_err(|source| ControlError::Connect { path, source })?;
    let asked = async move {
        let (reader, mut writer) = stream.into_split();
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(reader.take(MAX_LINE)).read_line(&mut answer).await?;
        Ok::<Answer, io::Error>(serde_json::from_str(&answer)?)
    };
    let Answer { error, nodes } = asked.await.map_err(ControlError::Answer)?;
    match error {
        Some(error) => Err(ControlError::Refused(error)),
        None => Ok(nodes),
    }
}

impl Devnet {
    /// Takes orders over a socket in the network's folder, which only the user of this process may open.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`DevnetError::Control`], for one because the folder's name is too long for a socket.
    pub fn listen_for_orders(&self) -> Result<PathBuf, DevnetError> {
        let path = self.folder.join(SOCKET);
        let listener = bind(&self.folder, &path)
            .map_err(|source| DevnetError::Control { path: path.display().to_string(), source })?;
        let (nodes, workers) = (Arc::clone(&self.nodes), self.workers.clone());
        self.workers.spawn("orders", async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (nodes, network) = (Arc::clone(&nodes), workers.clone());
                        workers.spawn("order", async move {
                            let done = tokio::time::timeout(PATIENCE, serve(stream, &nodes, &network)).await;
                            if let Ok(Err(error)) = done {
                                tracing::debug!(error = %error, "order was not answered");
                            }
                            Ok::<(), Infallible>(())
                        });
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "orders are taken no more");
                        return Ok::<(), Infallible>(());
                    }
                }
            }
        });
        Ok(path)
    }
}

/// Binds the socket in a folder that nobody else may enter, and moves it to its place when nobody else may open it.
fn bind(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let hidden = folder.join(".control");
    match std::fs::DirBuilder::new().mode(0o700).create(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o700))?;
    let bare = hidden.join("s");
    match std::fs::remove_file(&bare) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&bare)?;
    std::fs::set_permissions(&bare, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&bare, path)?;
    std::fs::remove_dir(&hidden)?;
    Ok(listener)
}

async fn serve(stream: UnixStream, nodes: &[Node], network: &Workers) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Order>(&line) {
        Ok(order) => match obey(&order, nodes, network).await {
            Ok(nodes) => Answer { error: None, nodes },
            Err(error) => Answer { error: Some(told(&error)), nodes: Vec::new() },
        },
        Err(error) => Answer { error: Some(format!("not an order: {error}")), nodes: Vec::new() },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", told(source)))
}

async fn obey(order: &Order, nodes: &[Node], network: &Workers) -> Result<Vec<NodeState>, DevnetError> {
    let each = |name: &str, act: &dyn Fn(&Node)| chosen(nodes, name).map(|nodes| nodes.into_iter().for_each(act));
    match order {
        Order::Nodes => {
            let state = |node: &Node| NodeState {
                name: node.address.name.clone(),
                address: node.address.address.clone(),
                up: node.workers().is_some(),
            };
            return Ok(nodes.iter().map(state).collect());
        }
        Order::Stop { node } => {
            for node in chosen(nodes, node)? {
                node.stop().await;
            }
        }
        Order::Start { node } => {
            for node in chosen(nodes, node)? {
                node.start_again(network).await?;
            }
        }
        Order::Delay { node, ms } => each(node, &|node| node.faults().delay(Duration::from_millis(*ms)))?,
        Order::Hang { node, on } => each(node, &|node| node.faults().hang(*on))?,
        Order::Cut { node, count } => each(node, &|node| node.faults().cut_next(*count))?,
        Order::Fail { node, count, code } => {
            each(node, &|node| node.faults().fail_next(*count, Code::from_i32(*code)))?;
        }
        Order::Garbage { node, count } => each(node, &|node| node.faults().garbage_next(*count))?,
        Order::Diverge { node, count } => each(node, &|node| node.faults().diverge_next(*count))?,
        Order::SlowBlocks { node, ms } => each(node, &|node| node.faults().slow_blocks(Duration::from_millis(*ms)))?,
        Order::Clock { node, offset_ms } => each(node, &|node| node.faults().clock(*offset_ms))?,
        Order::Clear { node } => each(node, &|node| node.faults().clear())?,
    }
    Ok(Vec::new())
}

fn chosen<'a>(nodes: &'a [Node], name: &str) -> Result<Vec<&'a Node>, DevnetError> {
    let found: Vec<_> = nodes.iter().filter(|node| name == "all" || node.is_called(name)).collect();
    if found.is_empty() { Err(DevnetError::NoNode(name.to_owned())) } else { Ok(found) }
}
