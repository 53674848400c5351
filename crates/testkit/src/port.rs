//! Ports that a process can be started on again and again.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use rand::RngExt as _;

/// Given out by this process already.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

const PORT_MIN: u16 = 10_000;
/// Where Linux begins to take ports for outgoing connections, unless told otherwise.
const EPHEMERAL_MIN: u16 = 32_768;

/// A port of the loopback interface that nobody listens on, below those that the system gives to outgoing
/// connections: otherwise a client could take it while its process is dead, or even be connected to itself.
///
/// # Panics
/// If none is free.
#[must_use]
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    let range = PORT_MIN..ephemeral_min().max(PORT_MIN + 1000);
    for _ in 0..1000 {
        let port = rand::rng().random_range(range.clone());
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
    panic!("no free port from {} to {}", range.start, range.end);
}

fn ephemeral_min() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    text.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(EPHEMERAL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
