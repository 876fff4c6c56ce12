//! `signet debug`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use signet_api::ops::DebugFile;

use super::failure::Failure;
use super::node::NodeArgs;
use super::output::{Output, print_json, print_text};
use crate::clock;

/// For bug reports.
#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// Write what a bug report needs of one node into a tar archive.
    ///
    /// Version, configuration, status, metrics, the doctor's checks, the latest log lines, and what raft and its stores say
    /// of themselves. No key, no token and no secret of a policy is in it; names and addresses are. Look at it before you
    /// send it: `tar -xOf FILE | less`.
    Bundle {
        /// Where to write it; there must be no such file yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Debug) -> Result<(), Failure> {
    let Debug::Bundle { file, node } = args;
    let files = node.call(|client| async move { client.collect_debug().await }).await?;
    let bytes = write(&file, &files, clock::now().secs()).map_err(|cause| Failure::file("write", &file, cause))?;
    match node.output {
        Output::Table => print_text(&format!(
            "wrote {} ({} files, {bytes} bytes). Look at it before you send it: tar -xOf {} | less",
            file.display(),
            files.len(),
            file.display()
        )),
        Output::Json => {
            let names: Vec<_> = files.iter().map(|file| &file.name).collect();
            print_json(&json!({ "file": file, "bytes": bytes, "files": names }))
        }
    }
}

fn write(path: &Path, files: &[DebugFile], now_secs: u64) -> io::Result<u64> {
    // Not over a file that is there: it could be any.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let archive = archive(files, now_secs)?;
    file.write_all(&archive)?;
    file.sync_all()?;
    Ok(archive.len() as u64)
}

fn archive(files: &[DebugFile], now_secs: u64) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now_secs);
        // A node's answer must not choose where on this machine something is unpacked.
        let name: String =
            file.name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        archive.append_data(
            &mut header,
            format!("signet-debug/{}", name.trim_start_matches('.')),
            file.content.as_slice(),
        )?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_holds_each_file_below_one_folder_whatever_its_name() {
        let file = |name: &str| DebugFile { name: name.to_owned(), content: name.as_bytes().to_vec() };
        let bytes = archive(&[file("log.txt"), file("../../etc/passwd")], 1_795_305_600).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<(String, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        assert_eq!(found[0], ("signet-debug/log.txt".to_owned(), "log.txt".to_owned()));
        assert_eq!(found[1].0, "signet-debug/_.._etc_passwd");
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there");
        std::fs::write(&path, "mine").unwrap();
        assert!(write(&path, &[], 0).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
