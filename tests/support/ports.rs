//! Ports for servers that are restarted and must come back to the same ones.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// A port on loopback that is free now, below those that the system gives to outgoing connections: one of those could
/// take the port of a server while that is down.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    for _ in 0..1_000 {
        let mut dice = [0u8; 2];
        aws_lc_rs::rand::fill(&mut dice).unwrap();
        let port = LOWEST + u16::from_le_bytes(dice) % (HIGHEST - LOWEST);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("found no free port between {LOWEST} and {HIGHEST}");
}

/// Above are the ports of `signet dev`.
const LOWEST: u16 = 10_000;
const HIGHEST: u16 = 20_000;
