//! A directory that lives as long as the demo.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::token::Secret;

/// A fresh directory that only this user can enter; it is removed with all its files when dropped.
#[derive(Debug)]
pub(super) struct ScratchDirectory(PathBuf);

impl ScratchDirectory {
    /// Makes one under the system's temporary directory. The name cannot be guessed, and a name that
    /// is already there fails, so nobody can have prepared it.
    pub(super) fn create() -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|_| io::Error::other("the system gave no randomness"))?;
        let name = format!("ckgate-demo-{:032x}", u128::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps a secret in a file of its own, for settings that accept secrets only from files.
    pub(super) fn write_secret(&self, name: &str, secret: &Secret) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(secret.expose().as_bytes())?;
        Ok(path)
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // Nobody is left to be told; what remains is in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
