//! `signet server`

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::process::{Signal, getpid, kill_process};

use super::failure::Failure;

/// Run one node.
///
/// A node that belongs to no cluster waits: `signet cluster init` makes it a cluster of one, a join token makes it a
/// member of an existing one.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Join the cluster that wrote this file (`signet cluster join-token FILE`). Ignored by a node that is a member.
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// Stop, as on SIGTERM, when standard input ends: a supervisor holds the other end, and it closes however that dies.
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

pub(super) async fn run(args: &Server) -> Result<(), Failure> {
    // The allocator asks for pages of 2 MiB, of which an idle node holds forty that are mostly empty. Not vital.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    if args.exit_with_parent {
        watch_parent()?;
    }
    crate::server::run(&args.config, args.join_token_file.as_deref())
        .await
        .map_err(|cause| Failure::chain("server", &cause))
}

/// A thread, not a task: a blocked read of standard input could not be stopped and would keep the runtime from ending.
fn watch_parent() -> Result<(), Failure> {
    let watch = || {
        let mut rest = [0u8; 64];
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut rest), Ok(0)) {}
        // If this fails there is no way left but the hard one below.
        let _ = kill_process(getpid(), Signal::TERM);
        std::thread::sleep(ORPHAN_GRACE);
        std::process::exit(1);
    };
    let thread = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
    thread.map(drop).map_err(|cause| Failure::new("io", format!("cannot watch the parent process: {cause}")))
}

/// How long an orphan may take to stop in good order.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);
