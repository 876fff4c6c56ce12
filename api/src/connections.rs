//! Connections: how many, how long, and how they end.

use std::time::Duration;

/// Bounds on what callers can make a listener hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head, and again for its body.
    pub request: Duration,
    /// A connection is asked to end after this, so that callers look around and the load spreads.
    pub max_age: Duration,
    /// How long requests under way may take to end when the server stops or a connection is too old.
    pub drain: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// The largest gRPC message that is accepted, in bytes.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            handshake: Duration::from_secs(10),
            request: Duration::from_secs(15),
            max_age: Duration::from_secs(180),
            drain: Duration::from_secs(10),
            streams: 1024,
            message: 4 << 20,
        }
    }
}
