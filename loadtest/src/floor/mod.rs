//! The floor: a process of its own that does what no implementation can leave out, and is loaded in the same way.

mod crypto;
mod handlers;
mod pki;
mod server;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

pub(crate) use pki::{ClientSide, TRUST_DOMAIN};
pub(crate) use server::Addresses;
use server::{Server, Setup};

/// A floor that runs. Ends when this is dropped.
pub(crate) struct Floor {
    pub(crate) pid: u32,
    pub(crate) addresses: Addresses,
    pub(crate) client: ClientSide,
    // Its standard input is in here, and with it the floor's life.
    _process: Child,
}

impl Floor {
    /// Starts this same program as a floor. `verify_tokens`: its exchanges verify a token too.
    pub(crate) async fn spawn(verify_tokens: bool, allow_debug: bool) -> anyhow::Result<Self> {
        let (tls, client) = pki::create()?;
        let program = std::env::current_exe().context("cannot find this program's file to start the floor")?;
        let mut command = Command::new(&program);
        command.args(["loadtest", "floor-server"]);
        if allow_debug {
            command.arg("--allow-debug");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the floor, {}", program.display()))?;
        let pid = process.id().context("the floor ended at once")?;
        let mut setup = serde_json::to_vec(&Setup { tls, verify_tokens })?;
        setup.push(b'\n');
        let (stdin, stdout) = (process.stdin.as_mut(), process.stdout.take());
        stdin
            .context("the floor has no standard input")?
            .write_all(&setup)
            .await
            .context("the floor did not listen")?;
        let mut answer = String::new();
        let stdout = stdout.context("the floor has no standard output")?;
        BufReader::new(stdout).read_line(&mut answer).await.context("the floor did not answer")?;
        let addresses = serde_json::from_str(&answer).context("the floor ended before it was ready")?;
        Ok(Self { pid, addresses, client, _process: process })
    }
}

/// Is the floor: takes its setup from standard input, says where it listens, serves until standard input ends.
pub(crate) async fn be() -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let (sender, setup) = tokio::sync::oneshot::channel();
    let ended = stop.clone().drop_guard();
    // A thread, because a read of standard input cannot be cut short, and a runtime waits for its own blocking tasks.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let _ended = ended;
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).is_ok() && sender.send(line).is_ok() {
            // Nothing more is said; the end is what counts.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        }
    })?;
    let setup = setup.await.context("reading the setup from standard input")?;
    let setup: Setup = serde_json::from_str(&setup).context("the setup on standard input")?;
    let server = Server::bind(&setup).await?;
    let answer = serde_json::to_string(&server.addresses())?;
    {
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    server.run(stop).await;
    Ok(())
}
