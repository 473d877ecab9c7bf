//! The program `opssc-agent`: arguments, tracing, exit code; nothing else.

fn main() {}
