//! Certificates and keys in PEM files (RFC 7468): read and checked against each other.
//!
//! Owns no connection and keeps nothing: whoever wants a certificate that changed reads it again.

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};

/// Why files hold no certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not there, or not for us.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system or the format said.
        error: pem::Error,
    },
    /// No certificate in it.
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    /// A key of another certificate, or of a kind we do not know.
    #[error("{key} does not belong to {chain}: {error}")]
    Mismatch {
        /// The certificates.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What was found.
        error: rustls::Error,
    },
    /// A certificate that nobody can sign with.
    #[error("{path} holds a certificate that cannot sign others: {error}")]
    NoAuthority {
        /// Which.
        path: PathBuf,
        /// What was found.
        error: rustls::Error,
    },
}

impl CertificateError {
    /// What to do about it.
    pub const fn cure(&self) -> &'static str {
        match self {
            CertificateError::Unreadable { .. } => {
                "name PEM files that this user may read; relative paths count from \
                                                    the folder of jiesu.toml"
            }
            CertificateError::NoCertificate(_) => {
                "the file begins with -----BEGIN CERTIFICATE-----, the leaf first, then those who signed it"
            }
            CertificateError::Mismatch { .. } => "use the key for which the first certificate of the file was made",
            CertificateError::NoAuthority { .. } => "name the certificates of those who sign, not of the other side",
        }
    }
}

/// A certificate chain, leaf first, with its key.
///
/// # Errors
/// [`CertificateError`] names the file.
pub fn chain_and_key(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let certificates = read(chain)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| CertificateError::Unreadable { path: key.into(), error })?;
    let mismatch = |error| CertificateError::Mismatch { chain: chain.into(), key: key.into(), error };
    CertifiedKey::from_der(certificates, private, &rustls::crypto::ring::default_provider()).map_err(mismatch)
}

/// Those who may sign.
///
/// # Errors
/// [`CertificateError`] names the file.
pub fn authorities(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in read(path)? {
        roots.add(certificate).map_err(|error| CertificateError::NoAuthority { path: path.into(), error })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable { path: path.into(), error };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let found = found.map_err(unreadable)?;
    if found.is_empty() { Err(CertificateError::NoCertificate(path.into())) } else { Ok(found) }
}
