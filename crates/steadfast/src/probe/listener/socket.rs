//! A probe listener in the file system.
//!
//! The socket is made under another name, given its rights, and then put in its place, so that
//! nobody reaches it before it has them. A socket that lies there already is replaced: it is
//! what a process has left that was killed, or one that is leaving, whose successor this is. It
//! is taken away at the end, unless a successor has put its own there.

use std::{io, path::Path};

use tokio::sync::watch;

use crate::probe::paths::{Door, OwnPaths};

#[cfg(unix)]
pub(super) use std::os::unix::net::UnixListener as Listener;

/// There are none here.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Listener;

/// The file of a socket. Dropped, it is taken away if it is still ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    #[cfg(unix)]
    path: std::path::PathBuf,
    #[cfg(unix)]
    inode: (u64, u64),
}

#[cfg(unix)]
pub(super) fn bind(path: &Path) -> io::Result<(Listener, SocketFile)> {
    use std::{
        fs,
        os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    };

    /// Its owner and its group: who runs the service, and whoever is let into its group.
    const RIGHTS: u32 = 0o660;

    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            let fault = "something is there that is no socket; allowed is a path where nothing \
                         is, or a socket that may be replaced";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, fault));
        }
    }
    // A name of our own beside it, so that putting it in place is one step.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = std::path::PathBuf::from(beside);
    let _ = fs::remove_file(&beside);
    let listener = Listener::bind(&beside)?;
    let placed = (|| {
        listener.set_nonblocking(true)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(RIGHTS))?;
        let file = fs::metadata(&beside)?;
        fs::rename(&beside, path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            inode: (file.dev(), file.ino()),
        })
    })();
    if placed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    placed.map(|file| (listener, file))
}

#[cfg(not(unix))]
pub(super) fn bind(_: &Path) -> io::Result<(Listener, SocketFile)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "unsupported"))
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        use std::os::unix::fs::MetadataExt;
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.inode);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
pub(super) async fn listen(
    listener: Listener,
    door: Door,
    own_paths: OwnPaths,
    stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    super::accept(
        async || Ok(listener.accept().await?.0),
        door,
        own_paths,
        stopped,
    )
    .await;
    Ok(())
}

#[cfg(not(unix))]
pub(super) async fn listen(
    _: Listener,
    _: Door,
    _: OwnPaths,
    _: watch::Receiver<()>,
) -> io::Result<()> {
    Ok(())
}
