//! TLS towards the upstream: verified, or no answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::harness::{
    A, CREDENTIAL, Gate, Leaf, Pki, Recorder, agent_path, assert_refused, mint, says,
};

/// Ends TLS in front of a recorder.
fn terminate(recorder: &Recorder, leaf: &Leaf, clients: Option<&Pki>) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let settings = match clients {
        None => settings.with_no_client_auth(),
        Some(pki) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pki.pem().as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            settings.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let config = Arc::new(settings.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, upstream) = (listener.local_addr().unwrap(), recorder.address());
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let config = Arc::clone(&config);
            thread::spawn(move || pass_on(stream, config, upstream));
        }
    });
    address
}

/// Passes bytes both ways, in turns: enough for one request after another.
fn pass_on(stream: TcpStream, config: Arc<ServerConfig>, upstream: SocketAddr) {
    let wait = std::time::Duration::from_millis(5);
    let mut secure = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut clear = TcpStream::connect(upstream).unwrap();
    while secure.conn.is_handshaking() {
        if secure.conn.complete_io(&mut secure.sock).is_err() {
            return;
        }
    }
    secure.sock.set_read_timeout(Some(wait)).unwrap();
    clear.set_read_timeout(Some(wait)).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        match secure.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => clear.write_all(&buffer[..length]).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        match clear.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if secure.write_all(&buffer[..length]).is_err() => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn gate(address: SocketAddr, more: &[(&str, PathBuf)]) -> Gate {
    let text = |path: &PathBuf| toml::Value::from(path.to_str().unwrap());
    let mut settings = vec![("upstream.url", format!("https://{address}").into())];
    settings.extend(more.iter().map(|(key, path)| (*key, text(path))));
    Gate::start_before(&address.to_string(), &settings)
}

#[test]
fn requests_and_streams_pass_a_verified_upstream_on_connections_that_are_kept() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let address = terminate(&recorder, &pki.leaf(&["127.0.0.1"]), None);
    let gate = gate(address, &[("upstream.ca", file(directory.path(), "ca.pem", pki.pem()))]);
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    for _ in 0..3 {
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(&token);
        let answer = call.json(&says("hello")).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }
    let long = "x".repeat(300_000);
    let call = gate.call("POST", &agent_path(A, "/messages")).token(&token);
    assert_eq!(call.json(&says(&long)).send().status, 200);
    let connections = recorder.connections().len();
    assert_eq!(recorder.requests().len(), 7);
    assert!(connections < 7, "{connections} connections for 7 requests");
}

/// G-06: an upstream whose certificate is somebody else's gets not one byte, and the client a 502.
#[test]
fn upstream_that_cannot_prove_itself_is_not_spoken_to() {
    let (recorder, pki, other) = (Recorder::start(), Pki::new(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let ca = || file(directory.path(), "ca.pem", pki.pem());
    let trusted = terminate(&recorder, &pki.leaf(&["127.0.0.1"]), None);
    let foreign = terminate(&recorder, &other.leaf(&["127.0.0.1"]), None);
    let another_name = terminate(&recorder, &pki.leaf(&["letta.test"]), None);
    let clear = recorder.address();
    for (address, more) in [
        (foreign, vec![("upstream.ca", ca())]),
        (another_name, vec![("upstream.ca", ca())]),
        (clear, vec![("upstream.ca", ca())]),
        // The web does not know this authority.
        (trusted, vec![]),
    ] {
        let gate = gate(address, &more);
        let token = mint(&gate, A, &["read_messages"]);
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        // What speaks no TLS says nothing in return.
        let code = if address == clear {
            (504, "upstream_timeout")
        } else {
            (502, "upstream_unavailable")
        };
        assert_refused(&answer, code.0, code.1);
        for bytes in recorder.connections() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!text.contains("HTTP/1.1") && !text.contains(CREDENTIAL), "{text}");
        }
    }
}

#[test]
fn upstream_that_asks_for_a_certificate_is_shown_the_configured_one() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let address = terminate(&recorder, &pki.leaf(&["127.0.0.1"]), Some(&pki));
    let own = pki.leaf(&["ckgate"]);
    let ca = file(directory.path(), "ca.pem", pki.pem());
    let with_own = [
        ("upstream.ca", ca.clone()),
        ("upstream.certificate", file(directory.path(), "own.pem", &own.certificate)),
        ("upstream.key", file(directory.path(), "own.key", &own.key)),
    ];
    for (more, status) in [(&with_own[..], 200), (&with_own[..1], 502)] {
        let gate = gate(address, more);
        let token = mint(&gate, A, &["read_messages"]);
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}
