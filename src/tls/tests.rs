use std::fs;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use super::{HTTP_2, Identities, PairFiles, PeerTls, TlsError};

/// A certificate for these names and its key, as files.
fn pair(directory: &TempDir, stem: &str, names: &[&str]) -> PairFiles {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let files = PairFiles {
        certificate: directory.path().join(format!("{stem}.pem")),
        key: directory.path().join(format!("{stem}.key")),
    };
    fs::write(&files.certificate, cert.pem()).unwrap();
    fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    files
}

fn read(pairs: &[PairFiles]) -> Result<Option<Identities>, TlsError> {
    Identities::read(pairs, &[HTTP_2], None)
}

#[test]
fn each_name_is_shown_its_own_certificate_and_others_the_first() {
    let directory = TempDir::new().unwrap();
    let pairs = [pair(&directory, "a", &["a.test"]), pair(&directory, "b", &["*.b.test"])];
    let identities = read(&pairs).unwrap().unwrap();
    for (asked, shown_for) in
        [(Some("a.test"), "a.test"), (Some("x.b.test"), "y.b.test"), (Some("c.test"), "a.test")]
    {
        assert!(identities.select(asked).is_for(shown_for), "{asked:?}");
    }
    assert!(identities.select(None).is_for("A.TEST."));
    assert!(!identities.select(Some("x.b.test")).is_for("a.test"));
}

#[test]
fn certificate_is_for_the_addresses_it_names_and_no_others() {
    let directory = TempDir::new().unwrap();
    let identities = read(&[pair(&directory, "a", &["127.0.0.1", "::1"])]).unwrap().unwrap();
    let identity = identities.select(None);
    for (host, is_for) in [("127.0.0.1", true), ("::1", true), ("127.0.0.2", false), ("x y", false)]
    {
        assert_eq!(identity.is_for(host), is_for, "{host}");
    }
}

/// G-01: what is half-written or mismatched is refused when it is read.
#[test]
fn pair_that_is_broken_or_mismatched_is_refused() {
    let directory = TempDir::new().unwrap();
    let (a, b) = (pair(&directory, "a", &["a.test"]), pair(&directory, "b", &["b.test"]));
    let mixed = PairFiles { certificate: a.certificate.clone(), key: b.key.clone() };
    assert!(matches!(read(&[mixed]), Err(TlsError::Pair { .. })));
    let whole = fs::read(&a.certificate).unwrap();
    fs::write(&a.certificate, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(read(std::slice::from_ref(&a)), Err(TlsError::Pem { .. })));
    fs::write(&a.certificate, "").unwrap();
    assert!(matches!(read(std::slice::from_ref(&a)), Err(TlsError::Pem { .. })));
    fs::remove_file(&a.certificate).unwrap();
    assert!(matches!(read(&[a]), Err(TlsError::File { .. })));
}

/// Of authorities in a file that was cut, those behind the cut would be missing.
#[test]
fn file_that_is_too_large_is_refused_rather_than_cut() {
    let directory = TempDir::new().unwrap();
    let a = pair(&directory, "a", &["a.test"]);
    let mut text = fs::read(&a.certificate).unwrap();
    text.resize(1 << 20, b'\n');
    fs::write(&a.certificate, &text).unwrap();
    assert!(read(std::slice::from_ref(&a)).is_ok());
    text.push(b'\n');
    fs::write(&a.certificate, &text).unwrap();
    assert!(matches!(read(&[a]), Err(TlsError::File { .. })));
}

#[test]
fn there_is_no_peer_without_authorities_or_a_name() {
    let missing = Path::new("/nonexistent/ca.pem");
    assert!(matches!(PeerTls::read("a.test", Some(missing), None), Err(TlsError::File { .. })));
    assert!(matches!(PeerTls::read("a b", None, None), Err(TlsError::Name(_))));
    assert!(PeerTls::read("a.test", None, None).is_ok());
}
