//! Writes that fail.

use std::process::Command;

use openraft::storage::RaftLogStorage;

use super::storage::{append, entry};
use super::storage_model::scratch;
use crate::log::LogStore;
use crate::types::Vote;

/// The process of the test below; does nothing by itself.
#[tokio::test]
#[ignore = "run by another test, with a limit on the size of files"]
async fn child_that_appends_until_it_cannot() {
    let Ok(dir) = std::env::var("SIGNET_TEST_DIR") else { return };
    let mut log = LogStore::open(std::path::Path::new(&dir)).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let text = format!("put a {}", "x".repeat(5000));
    for index in 0..1000 {
        append(&mut log, vec![entry(index, &text)]).await;
        println!("acknowledged {index}");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_ends_the_process_with_what_to_do_and_keeps_what_it_acknowledged() {
    let dir = scratch();
    // A file that may not grow fails as a full disk does, and needs no privileges.
    let script = "trap '' XFSZ; ulimit -f 200; exec \"$0\" --ignored --exact --nocapture \
                  tests::storage_faults::child_that_appends_until_it_cannot";
    let child = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("SIGNET_TEST_DIR", dir.path())
        .output()
        .unwrap();
    let (told, out) = (String::from_utf8_lossy(&child.stderr), String::from_utf8_lossy(&child.stdout));
    assert!(!child.status.success());
    assert!(told.contains("error[internal]: cannot write the raft log"), "{told}");
    assert!(told.contains("free space") && told.contains("start the node again"), "{told}");
    let last = out.lines().filter_map(|line| line.strip_prefix("acknowledged ")).next_back().unwrap();
    let last: u64 = last.parse().unwrap();
    assert!(last > 10, "{out}");
    let mut log = LogStore::open(dir.path()).unwrap();
    assert!(log.get_log_state().await.unwrap().last_log_id.unwrap().index >= last);
}
