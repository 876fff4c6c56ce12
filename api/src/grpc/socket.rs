//! The admin socket: a file that one user can open, and a list of users that the kernel vouches for.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::connections::Accept;

/// The admin socket, bound. Dropping it removes the file.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Which file is ours, so that we do not remove a successor's.
    inode: (u64, u64),
    allowed_uids: Vec<u32>,
}

/// The admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Another process answers on it.
    #[error("another server answers on the admin socket {path}; stop it or set another [admin] socket")]
    InUse {
        /// Where.
        path: String,
    },
    /// Something else than a socket is there.
    #[error("{path} is not a socket and is left alone; remove it or set another [admin] socket")]
    NotASocket {
        /// Where.
        path: String,
    },
    /// The file system refused.
    #[error("cannot make the admin socket {path}; the folder must exist and the path be at most 107 bytes long")]
    Io {
        /// Where.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// A local user, by the kernel's word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    /// 0 where the kernel does not say.
    pub(crate) pid: i32,
}

impl AdminSocket {
    /// Binds the socket at `path` with mode 0600, removing a stale one. Only `allowed_uids` may use it: the file's mode
    /// keeps out all but the server's own user and root, unless the operator opens it further by an ACL.
    ///
    /// # Errors
    /// [`AdminSocketError`]: the operator corrects what it names.
    pub fn bind(path: &Path, allowed_uids: Vec<u32>) -> Result<Self, AdminSocketError> {
        let text = || path.display().to_string();
        let io = |cause| AdminSocketError::Io { path: text(), cause };
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(AdminSocketError::NotASocket { path: text() }),
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(AdminSocketError::InUse { path: text() }),
                // Nobody listens: a server left it when it was killed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(io)?;
                }
                Err(error) => return Err(io(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        // Between these two lines others could connect; their uid is checked all the same.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        let made = std::fs::symlink_metadata(path).map_err(io)?;
        Ok(Self { listener, path: path.to_owned(), inode: (made.dev(), made.ino()), allowed_uids })
    }

    fn admit(&self, stream: &UnixStream) -> io::Result<Option<User>> {
        let credentials = stream.peer_cred()?;
        let user = User { uid: credentials.uid(), pid: credentials.pid().unwrap_or(0) };
        if self.allowed_uids.contains(&user.uid) {
            return Ok(Some(user));
        }
        tracing::warn!(uid = user.uid, pid = user.pid, "refused a user who is not in [admin] allowed_uids");
        Ok(None)
    }
}

impl Accept for AdminSocket {
    type Stream = (UnixStream, User);

    async fn accept(&self) -> io::Result<(UnixStream, User)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if let Some(user) = self.admit(&stream)? {
                return Ok((stream, user));
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the admin socket");
        }
    }
}
