//! Small files that hold a secret: key files, passphrases, PINs.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a small file that only we may read. What is checked is the file that was opened, not its name.
///
/// # Errors
/// What is wrong with the file and what to do, to be put behind its path.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut file = File::open(path).map_err(|cause| format!("cannot be opened: {cause}"))?;
    let metadata = file.metadata().map_err(|cause| format!("cannot be examined: {cause}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "may be read or written by others (mode {:04o}): run chmod 600 {}",
            metadata.mode() & 0o7777,
            path.display()
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != ROOT_UID {
        return Err(format!(
            "belongs to user id {}, and this program runs as {own}: run chown {own} {}",
            metadata.uid(),
            path.display()
        ));
    }
    // One allocation, so that no copy is left behind when a buffer grows.
    let mut bytes = Zeroizing::new(vec![0; MAX_FILE_BYTES + 1]);
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(format!("cannot be read: {cause}")),
        }
    }
    if length > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes: it is not a file of a secret"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// None of these files is larger; `/dev/zero` is.
const MAX_FILE_BYTES: usize = 4096;
const ROOT_UID: u32 = 0;
