//! Waiting for services by asking them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How often a service is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is good, and panics with `what` and the last answer when that takes longer than `patience`.
pub fn until<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(begin.elapsed() < patience, "waited {patience:?} until {what}: {error}"),
        }
        std::thread::sleep(PAUSE);
    }
}

/// The body of an answer `200` from a plain HTTP service.
pub fn http_get(address: SocketAddr, path: &str) -> Result<String, String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error: std::io::Error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}

/// The value of a channel's gauge in Prometheus text.
pub fn gauge(metrics: &str, name: &str, channel: &str) -> Option<u64> {
    let prefix = format!("{name}{{channel=\"{channel}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
}
