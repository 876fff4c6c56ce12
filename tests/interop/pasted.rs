//! What `signet dev` and the README tell people to type, typed by a shell.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::cli::{Said, signet};
use crate::support::dev::Dev;
use crate::support::peers::Peers;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_signet_dev_prints_work_when_they_are_pasted() {
    let Some(_peers) = Peers::find("the printed commands, with OpenSSL") else { return };
    let dev = Dev::start().await;
    let commands = printed(&dev).await;
    // One shell, as one terminal: what is exported first is there for the others.
    let said = shell(&commands.join("\n"), dev.data().parent().unwrap());
    assert_eq!(said.code, Some(0), "{commands:?} {said:?}");
    assert!(said.stdout.contains("svid.pem: OK"), "{said:?}");
    assert!(said.stdout.contains("txntoken+jwt") && said.stdout.contains("alice"), "{said:?}");
}

/// The indented lines after the invitation to another terminal: what is to be exported, and three examples.
async fn printed(dev: &Dev) -> Vec<String> {
    // dev.json is there a moment before the last line is printed.
    eventually(Duration::from_secs(10), "the commands", async || {
        let said = dev.said();
        let examples = said.split_once("In another terminal:").map_or("", |(_, rest)| rest);
        let commands: Vec<String> =
            examples.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect();
        if commands.len() == 4 { Ok(commands) } else { Err(said) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_work_when_they_are_pasted() {
    let Some(_peers) = Peers::find("the README's commands, with OpenSSL") else { return };
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let tour = readme.split_once("<!-- tour: run by tests/interop/pasted.rs -->").unwrap().1;
    let tour = tour.split_once("<!-- end of tour -->").unwrap().0;
    let blocks: Vec<&str> =
        tour.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
    assert!(blocks.len() >= 4, "the tour has only {} blocks", blocks.len());
    let dev = Dev::start().await;
    let export = printed(&dev).await.swap_remove(0);
    assert!(export.starts_with("export SIGNET_"), "{export}");
    let said = shell(&format!("{export}\n{}", blocks.join("\n")), dev.data().parent().unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("svid.pem: OK"), "{said:?}");
}

/// Runs lines in one shell that stops at the first failure, with `signet` on its path.
fn shell(lines: &str, folder: &Path) -> Said {
    let path = format!("{}:{}", signet().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let script = format!("set -euo pipefail\n{lines}\n");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).current_dir(folder).env("PATH", path).env_remove("SIGNET_SOCKET");
    Said::from(command.stdin(std::process::Stdio::null()).output().unwrap())
}
