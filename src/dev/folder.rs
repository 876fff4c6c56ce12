//! The folder of a demo cluster: one supervisor at a time, and every file has its place.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::plan::{NODES, Plan};
use crate::cli::{Failure, write_secret};

/// The folder, held by this process.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    sockets: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: File,
    /// Folders that go when the cluster does.
    _temporary: Vec<TempDir>,
}

impl Folder {
    /// Takes `path`, or a new temporary folder.
    ///
    /// # Errors
    /// The folder cannot be used, or another `signet dev` holds it.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let mut temporary = Vec::new();
        let path = match path {
            Some(path) => {
                make(path)?;
                path.canonicalize().map_err(|cause| Failure::file("find", path, cause))?
            }
            None => keep(&mut temporary)?,
        };
        let lock = lock(&path)?;
        let mut sockets = path.join("run");
        if sockets.as_os_str().as_bytes().len() > LONGEST_SOCKET_FOLDER {
            sockets = keep(&mut temporary)?;
        }
        make(&sockets)?;
        Ok(Self { path, sockets, _lock: lock, _temporary: temporary })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A node's configuration.
    pub(super) fn config(&self, node: usize) -> PathBuf {
        self.path.join(format!("node-{node}.toml"))
    }

    /// A node's data.
    pub(super) fn data(&self, node: usize) -> PathBuf {
        self.path.join(format!("node-{node}"))
    }

    /// What a node says.
    pub(super) fn log(&self, node: usize) -> PathBuf {
        self.path.join(format!("node-{node}.log"))
    }

    /// The token with which a node joins. There only until it has.
    pub(super) fn join_token(&self, node: usize) -> PathBuf {
        self.path.join(format!("node-{node}.join"))
    }

    /// A node's admin socket.
    pub(super) fn socket(&self, node: usize) -> PathBuf {
        self.sockets.join(format!("node-{node}.sock"))
    }

    /// The key-encryption key of all nodes.
    pub(super) fn key_encryption_key(&self) -> PathBuf {
        self.path.join("kek")
    }

    /// The trust anchors, PEM.
    pub(super) fn bundle(&self) -> PathBuf {
        self.path.join("bundle.pem")
    }

    /// The plan, if the folder has one.
    ///
    /// # Errors
    /// There is one, and it cannot be read.
    pub(super) fn plan(&self) -> Result<Option<Plan>, Failure> {
        let path = self.path.join(PLAN);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|cause| Failure::file("understand", &path, cause))
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Failure::file("read", &path, cause)),
        }
    }

    /// Keeps the plan.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn keep_plan(&self, plan: &Plan) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(plan).map_err(|cause| Failure::new("io", cause.to_string()))?;
        write_secret(&self.path.join(PLAN), &text)
    }

    /// Removes what a first start that was broken off left of the nodes. Nothing in it was ever promised to anybody.
    ///
    /// # Errors
    /// It could not be removed.
    pub(super) fn clear_nodes(&self) -> Result<(), Failure> {
        for node in NODES {
            let data = self.data(node);
            absent_is_fine(fs::remove_dir_all(&data)).map_err(|cause| Failure::file("remove", &data, cause))?;
            let token = self.join_token(node);
            absent_is_fine(fs::remove_file(&token)).map_err(|cause| Failure::file("remove", &token, cause))?;
        }
        Ok(())
    }

    /// Makes a node's data folder.
    ///
    /// # Errors
    /// It could not be made.
    pub(super) fn make_data(&self, node: usize) -> Result<(), Failure> {
        make(&self.data(node))
    }
}

/// The folder is the process's own alone, because keys lie in it.
fn make(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|cause| Failure::file("make", path, cause))
}

fn keep(temporary: &mut Vec<TempDir>) -> Result<PathBuf, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("signet-").permissions(fs::Permissions::from_mode(0o700));
    // Not the user's own temporary folder where that is too deep for a socket.
    let parent = std::env::temp_dir();
    let short = parent.as_os_str().as_bytes().len() <= LONGEST_SOCKET_FOLDER - 20;
    let dir = if short { builder.tempdir_in(&parent) } else { builder.tempdir_in("/tmp") };
    let dir = dir.map_err(|cause| Failure::new("io", format!("cannot make a temporary folder: {cause}")))?;
    let path = dir.path().to_path_buf();
    temporary.push(dir);
    Ok(path)
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = options.map_err(|cause| Failure::file("open", &path, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            "already_running",
            format!("another signet dev runs in {}; stop it first, or take another folder", folder.display()),
        )),
        Err(TryLockError::Error(cause)) => Err(Failure::file("lock", &path, cause)),
    }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

const PLAN: &str = "plan.json";
/// A socket's whole path is at most 107 bytes (unix(7)).
const LONGEST_SOCKET_FOLDER: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_supervisor_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = Folder::open(Some(dir.path())).unwrap();
        assert_eq!(Folder::open(Some(dir.path())).unwrap_err().code(), "already_running");
        drop(held);
        Folder::open(Some(dir.path())).unwrap();
    }

    #[test]
    fn a_temporary_folder_goes_at_the_end() {
        let folder = Folder::open(None).unwrap();
        let path = folder.path().to_path_buf();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_path_fits_however_deep_the_folder_is() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("deep/".repeat(30));
        for path in [dir.path(), &deep] {
            let folder = Folder::open(Some(path)).unwrap();
            assert!(folder.socket(3).as_os_str().len() <= 107, "{}", folder.socket(3).display());
            let mode = fs::metadata(folder.socket(3).parent().unwrap()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(dir.path())).unwrap();
        assert_eq!(folder.plan().unwrap(), None);
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        folder.keep_plan(&plan).unwrap();
        assert_eq!(folder.plan().unwrap(), Some(plan));
    }
}
