//! `[admin]`: the operator's socket, and health and metrics for machines.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct AdminConfig {
    pub(crate) socket: PathBuf,
    /// Who may use it; the server's own user where it is not set.
    pub(crate) allowed_uids: Option<Vec<u32>>,
    /// Loopback only.
    pub(crate) http: SocketAddr,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    socket: Option<PathBuf>,
    allowed_uids: Option<Vec<u32>>,
    http: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<AdminConfig> {
        let socket = self.socket.unwrap_or_else(|| PathBuf::from("/run/signet/admin.sock"));
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let problem = format!("the path has {length} bytes, a socket's path at most {MAX_SOCKET_PATH}");
            mistakes.add("admin.socket", problem);
        }
        if self.allowed_uids.as_ref().is_some_and(Vec::is_empty) {
            mistakes.add(
                "admin.allowed_uids",
                "is empty, so nobody could administer this node; leave it out for the server's own user",
            );
        }
        let http = mistakes.listen("admin.http", self.http, "127.0.0.1:8470")?;
        if !http.ip().is_loopback() {
            mistakes.add(
                "admin.http",
                format_args!("{http} is not a loopback address, and this door asks for no credential"),
            );
        }
        Some(AdminConfig { socket, allowed_uids: self.allowed_uids, http })
    }
}

/// `sun_path` of Linux, without its terminator.
const MAX_SOCKET_PATH: usize = 107;
