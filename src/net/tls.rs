//! TLS 1.2 and 1.3 for listeners and for connections of ours: settings from PEM files, and a certificate of our own.
//!
//! Owns no connection. What is read here is taken by new handshakes; connections that stand keep what they began with.

use crate::config::certificates::{self, CertificateError};
use crate::config::{Certificate, Clients, Tls};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its files.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Those who sign certificates of the other side.
    #[error("authorities: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// What the files say together.
    #[error("certificate: {0}")]
    Rustls(#[from] rustls::Error),
    /// Our own certificate could not be made.
    #[error("a certificate of our own cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Our own certificate could not be written.
    #[error("{path}: {error}")]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Where and for whom a certificate of our own is made.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// The folder that keeps it.
    pub folder: PathBuf,
    /// Names and addresses by which the node is reached.
    pub names: Vec<String>,
}

/// What both sides of a listener's handshakes use.
#[derive(Clone, Debug)]
pub struct Secured {
    /// For whoever connects.
    pub server: Arc<ServerConfig>,
    /// For connections that we open.
    pub client: Arc<ClientConfig>,
}

/// The crypto of the whole process; to be called once at start, before any handshake.
pub fn install_provider() {
    // Only a second call fails, and then the same one is in place.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Reads what a listener needs.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn secured(tls: &Tls, own: &OwnCertificate) -> Result<Secured, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = files(tls, own);
    if tls.certificate == Certificate::SelfSigned && !(chain.exists() && key.exists()) {
        make(own, &chain, &key)?;
    }
    let identity = Arc::new(certificates::chain_and_key(&chain, &key)?);
    let authorities = tls.authorities.as_deref().map(certificates::authorities).transpose()?;
    Ok(Secured {
        server: Arc::new(server(tls, &provider, identity.clone(), authorities.as_ref())?),
        client: Arc::new(client(&provider, identity, authorities)?),
    })
}

fn server(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    identity: Arc<CertifiedKey>,
    authorities: Option<&RootCertStore>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        |roots: &RootCertStore| WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match (tls.clients, authorities) {
        (Clients::Required, Some(roots)) => builder.with_client_cert_verifier(verifier(roots).build()?),
        (Clients::Optional, Some(roots)) => {
            builder.with_client_cert_verifier(verifier(roots).allow_unauthenticated().build()?)
        }
        (Clients::None, _) | (Clients::Optional | Clients::Required, None) => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from((*identity).clone())));
    // Phones keep their connections: nothing is gained by remembering sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    identity: Arc<CertifiedKey>,
    authorities: Option<RootCertStore>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    // Without authorities nobody is believed: such a listener opens no connection.
    let builder = builder.with_root_certificates(authorities.unwrap_or_else(RootCertStore::empty));
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*identity).clone()))))
}

/// The files of a listener's certificate.
fn files(tls: &Tls, own: &OwnCertificate) -> (PathBuf, PathBuf) {
    match &tls.certificate {
        Certificate::SelfSigned => (own.folder.join("certificate.pem"), own.folder.join("key.pem")),
        Certificate::Files { chain, key } => (chain.clone(), key.clone()),
    }
}

/// Says whether files were replaced: compared with what it gave before.
pub fn stamp(tls: &Tls, own: &OwnCertificate) -> Vec<Option<(SystemTime, u64)>> {
    let (chain, key) = files(tls, own);
    let stamp = |path: &Path| fs::metadata(path).ok().and_then(|it| Some((it.modified().ok()?, it.len())));
    [Some(&chain), Some(&key), tls.authorities.as_ref()].into_iter().flatten().map(|path| stamp(path)).collect()
}

fn make(own: &OwnCertificate, chain: &Path, key: &Path) -> Result<(), TlsError> {
    let made = rcgen::generate_simple_self_signed(own.names.clone())?;
    let written = fs::create_dir_all(&own.folder)
        .and_then(|()| write(key, made.signing_key.serialize_pem().as_bytes(), 0o600))
        .and_then(|()| write(chain, made.cert.pem().as_bytes(), 0o644));
    written.map_err(|error| TlsError::Write { path: own.folder.clone(), error })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    fs::File::options().write(true).create(true).truncate(true).mode(mode).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn own(folder: &Path) -> OwnCertificate {
        OwnCertificate { folder: folder.join("tls"), names: vec!["fz.example".into(), "127.0.0.1".into()] }
    }

    fn self_signed() -> Tls {
        Tls { certificate: Certificate::SelfSigned, clients: Clients::None, authorities: None }
    }

    #[test]
    fn a_certificate_of_our_own_is_made_once_and_its_key_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let own = own(folder.path());
        secured(&self_signed(), &own).unwrap();
        let (chain, key) = files(&self_signed(), &own);
        let before = (fs::read(&chain).unwrap(), stamp(&self_signed(), &own));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        secured(&self_signed(), &own).unwrap();
        assert_eq!((fs::read(&chain).unwrap(), stamp(&self_signed(), &own)), before);
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (own(&folder.path().join("one")), own(&folder.path().join("other")));
        secured(&self_signed(), &one).unwrap();
        secured(&self_signed(), &other).unwrap();
        let ((chain, key), (_, others_key)) = (files(&self_signed(), &one), files(&self_signed(), &other));
        let with = |chain: &Path, key: &Path| Tls {
            certificate: Certificate::Files { chain: chain.into(), key: key.into() },
            ..self_signed()
        };
        assert!(secured(&with(&chain, &key), &other).is_ok());
        for (tls, says) in [
            (with(&chain, &others_key), "does not belong to"),
            (with(&key, &key), "holds no certificate"),
            (with(&chain, &folder.path().join("none.pem")), "cannot be read"),
            (
                Tls { clients: Clients::Required, authorities: Some(key.clone()), ..with(&chain, &key) },
                "holds no certificate",
            ),
        ] {
            let error = secured(&tls, &one).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let checked = Tls { clients: Clients::Required, authorities: Some(chain.clone()), ..with(&chain, &key) };
        assert!(secured(&checked, &one).is_ok());
    }
}
