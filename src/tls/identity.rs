use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use webpki::EndEntityCert;

use super::files::{PairFiles, TlsError, read_authorities, read_pair};
use super::provider;

/// HTTP/2, as ALPN names it.
pub const HTTP_2: &[u8] = b"h2";
/// HTTP/1.1, as ALPN names it.
pub const HTTP_11: &[u8] = b"http/1.1";

/// One certificate with its key, ready for handshakes.
#[derive(Debug)]
pub struct Identity {
    leaf: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

/// The certificates of one listener, of which each client is shown the one it asks for.
#[derive(Debug)]
pub struct Identities {
    first: Arc<Identity>,
    others: Vec<Arc<Identity>>,
}

impl Identities {
    /// Reads certificates and keys. `protocols` are offered by ALPN, the preferred one first; with
    /// `clients`, only a client with a certificate from one of these authorities is served.
    ///
    /// `None` when there are no certificates.
    pub fn read(
        pairs: &[PairFiles],
        protocols: &[&[u8]],
        clients: Option<&Path>,
    ) -> Result<Option<Self>, TlsError> {
        let clients = clients.map(client_verifier).transpose()?;
        let read = |files: &PairFiles| Identity::read(files, protocols, clients.clone());
        let mut all = pairs.iter().map(read);
        let Some(first) = all.next().transpose()? else { return Ok(None) };
        let others = all.map(|one| one.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Some(Self { first: Arc::new(first), others }))
    }

    /// The certificate for a client that asks for `server_name`: the first that is for this name, or
    /// else the first of all.
    #[must_use]
    pub fn select(&self, server_name: Option<&str>) -> &Arc<Identity> {
        let fitting = server_name.filter(|_| !self.others.is_empty()).and_then(|name| {
            let mut all = std::iter::once(&self.first).chain(&self.others);
            all.find(|identity| identity.is_for(name))
        });
        fitting.unwrap_or(&self.first)
    }
}

impl Identity {
    fn read(
        files: &PairFiles,
        protocols: &[&[u8]],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Self, TlsError> {
        let (chain, key) = read_pair(files)?;
        let leaf = chain.first().cloned();
        let pem = || TlsError::Pem { path: files.certificate.clone(), what: "certificate" };
        let leaf = leaf.ok_or_else(pem)?;
        EndEntityCert::try_from(&leaf).map_err(|_| pem())?;
        let settings = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let settings = match clients {
            Some(verifier) => settings.with_client_cert_verifier(verifier),
            None => settings.with_no_client_auth(),
        };
        let mut config =
            settings.with_single_cert(chain, key).map_err(|source| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // What is sent before the handshake ends can be sent again by anybody (RFC 8470).
        config.max_early_data_size = 0;
        // The suites are in our order of preference.
        config.ignore_client_order = true;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { leaf, config: Arc::new(config) })
    }

    /// The settings of a handshake that shows this certificate.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether the certificate is for this host: a name, or an address without brackets.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let Ok(name) = ServerName::try_from(host) else { return false };
        let certificate = EndEntityCert::try_from(&self.leaf);
        certificate.is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let authorities = Arc::new(read_authorities(path)?);
    WebPkiClientVerifier::builder_with_provider(authorities, provider())
        .build()
        .map_err(|error| TlsError::Authorities { path: path.to_owned(), reason: error.to_string() })
}
