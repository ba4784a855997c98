use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Most bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a certificate, with the chain behind it, and its key are kept, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file `{path}` cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file has nothing of what it should have.
    #[error("the file `{path}` has no usable {what} in PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// The certificate cannot be used, or the key is another one's.
    #[error("the certificate `{certificate}` and the key `{key}` cannot be used together")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The authorities cannot be used.
    #[error("the authorities in `{path}` cannot be used: {reason}")]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
    /// No name that a certificate can be for.
    #[error("`{0}` is no name that a certificate can be for")]
    Name(String),
}

/// A certificate's chain and its key.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(super) fn read_pair(files: &PairFiles) -> Result<Pair, TlsError> {
    let chain = read_certificates(&files.certificate)?;
    let text = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| TlsError::Pem { path: files.key.clone(), what: "private key" })?;
    Ok((chain, key))
}

/// The certificates of a file; at least one.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Pem { path: path.to_owned(), what: "certificate" }),
    }
}

/// The authorities of a file; at least one.
pub(super) fn read_authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        authorities.add(certificate).map_err(|error| TlsError::Authorities {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(authorities)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it has more than 1 MiB")));
    }
    Ok(text)
}
