use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::files::{PairFiles, TlsError, read_authorities, read_pair};
use super::{HTTP_11, provider};

/// How the gate speaks TLS to a server: which name it must prove, and by whose word.
#[derive(Clone, Debug)]
pub struct PeerTls {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl PeerTls {
    /// For the server at `host`, a name or an address without brackets. It is verified by the
    /// authorities in the file `authorities`, or else by those that the web trusts; `own` is shown
    /// to a server that asks who we are.
    pub fn read(
        host: &str,
        authorities: Option<&Path>,
        own: Option<&PairFiles>,
    ) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TlsError::Name(host.to_owned()))?;
        let config = client_config(authorities, own, HTTP_11)?;
        Ok(Self { name, config: Arc::new(config) })
    }

    /// The name that the server must prove.
    #[must_use]
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// The settings of the handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// How a server is spoken to that is verified by the authorities in this file, or else by those that
/// the web trusts. `own` is shown to one that asks who we are, `protocol` is offered by ALPN.
pub fn client_config(
    authorities: Option<&Path>,
    own: Option<&PairFiles>,
    protocol: &[u8],
) -> Result<ClientConfig, TlsError> {
    let authorities = match authorities {
        Some(path) => read_authorities(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let settings = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities);
    let mut config = match own {
        None => settings.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = read_pair(files)?;
            settings.with_client_auth_cert(chain, key).map_err(|source| TlsError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                source,
            })?
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}
