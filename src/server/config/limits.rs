//! `[limits]`: how much callers can make this node hold at a time.

use serde::Deserialize;
use signet_api::connections::Limits;
use signet_api::load::Total;

use super::Mistakes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    /// Requests under way on the public doors together.
    requests: usize,
    /// Requests under way on each of them.
    requests_per_door: usize,
    /// Connections of each of them.
    connections_per_door: usize,
    /// MiB of requests that a door holds.
    request_memory_mib: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    requests: Option<usize>,
    requests_per_door: Option<usize>,
    connections_per_door: Option<usize>,
    request_memory_mib: Option<usize>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<LimitsConfig> {
        let mut number = |key: &str, value: Option<usize>, default: usize, most: usize| {
            let value = value.unwrap_or(default);
            if (1..=most).contains(&value) {
                return Some(value);
            }
            mistakes.add(key, format_args!("{value} is not between 1 and {most}"));
            None
        };
        let requests = number("limits.requests", self.requests, 6144, 1 << 20);
        let requests_per_door = number("limits.requests_per_door", self.requests_per_door, 4096, 1 << 20);
        let connections_per_door = number("limits.connections_per_door", self.connections_per_door, 8192, 1 << 20);
        // At least one message of the largest size.
        let request_memory_mib = match self.request_memory_mib.unwrap_or(256) {
            value @ 8..=65_536 => Some(value),
            value => {
                mistakes.add("limits.request_memory_mib", format_args!("{value} is not between 8 and 65536"));
                None
            }
        };
        Some(LimitsConfig {
            requests: requests?,
            requests_per_door: requests_per_door?,
            connections_per_door: connections_per_door?,
            request_memory_mib: request_memory_mib?,
        })
    }
}

impl LimitsConfig {
    /// What the public doors may hold.
    pub(crate) fn public(&self) -> Limits {
        Limits {
            connections: self.connections_per_door,
            requests: self.requests_per_door,
            request_bytes: self.request_memory_mib << 20,
            total: Total::new(self.requests),
            ..Limits::default()
        }
    }

    /// What the admin doors may hold: apart from the public ones, so that the operator is served when those are full.
    pub(crate) fn admin() -> Limits {
        Limits {
            connections: ADMIN_CONNECTIONS,
            requests: ADMIN_REQUESTS,
            request_bytes: ADMIN_REQUEST_BYTES,
            total: Total::new(ADMIN_REQUESTS),
            ..Limits::default()
        }
    }
}

const ADMIN_CONNECTIONS: usize = 1024;
const ADMIN_REQUESTS: usize = 2048;
const ADMIN_REQUEST_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_are_named_all_at_once() {
        let mut mistakes = Mistakes::default();
        let raw = Raw { requests: Some(0), request_memory_mib: Some(1), ..Raw::default() };
        assert_eq!(raw.check(&mut mistakes), None);
        assert_eq!(mistakes.0.len(), 2, "{mistakes:?}");
        assert!(Raw::default().check(&mut Mistakes::default()).is_some());
    }
}
