//! Certificates of the tests' own, and a client that trusts no others.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use toml::{Table, Value};

/// A connection within TLS.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// An authority of the tests' own. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Pki(Arc<Authority>, Option<Arc<Authority>>);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Arc::new(Authority { issuer: Issuer::new(params, key), pem }), None)
    }

    /// The same authority; clients that trust it trust the other one as well.
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self(Arc::clone(&self.0), Some(Arc::clone(&other.0)))
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.0.pem
    }

    /// A certificate for these names, fit for servers and for clients.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let subject = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).unwrap();
        // Another name than the authority's: OpenSSL takes the two for one otherwise.
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0.issuer).unwrap();
        Leaf { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What a client needs that offers these protocols, and shows `own` when it is asked.
    pub(crate) fn client(&self, protocols: &[&[u8]], own: Option<&Leaf>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for authority in [Some(&self.0), self.1.as_ref()].into_iter().flatten() {
            let pem = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
            roots.add(pem).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => settings.with_no_client_auth(),
            Some(leaf) => {
                let chain = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                settings.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// The handshake with a server that must prove to be `name`.
    pub(crate) fn connect(
        &self,
        mut stream: TcpStream,
        name: &str,
        protocols: &[&[u8]],
        own: Option<&Leaf>,
    ) -> std::io::Result<Secure> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(self.client(protocols, own), name).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(client, stream))
    }
}

impl Leaf {
    /// Writes it as `{stem}.pem` and `{stem}.key`, each in one step; what stands in the
    /// configuration for it.
    pub(crate) fn write(&self, directory: &Path, stem: &str) -> Value {
        let mut table = Table::new();
        for (key, ending, text) in
            [("certificate", "pem", &self.certificate), ("key", "key", &self.key)]
        {
            let path = directory.join(format!("{stem}.{ending}"));
            let beside = directory.join(format!("{stem}.{ending}.new"));
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &path).unwrap();
            table.insert(key.to_owned(), path.to_str().unwrap().into());
        }
        table.into()
    }
}
