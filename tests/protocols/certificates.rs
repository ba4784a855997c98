//! Which certificate is shown, when it changes, and what a handshake may cost.

use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::harness::{
    A, Call, Connection, Gate, HOST, Leaf, Pki, Recorder, agent_path, eventually, mint,
};

fn metric(gate: &Gate, name: &str) -> u64 {
    let text = gate.admin_get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Whether the gate's certificate leads to this authority.
fn is_trusted(gate: &Gate, pki: &Pki) -> bool {
    Connection::open_secure(gate.public(), pki, HOST).is_ok()
}

#[test]
fn public_listener_with_a_certificate_answers_nothing_in_the_clear() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let gate = Gate::start_tls(&recorder, &pki, &[]);
    let mut clear = Connection::open(gate.public());
    clear.send("GET /v1/agents/ HTTP/1.1\r\nHost: gw.test\r\n\r\n");
    let received = clear.until_close();
    assert!(!String::from_utf8_lossy(&received).contains("HTTP"), "{received:?}");
    assert!(!is_trusted(&gate, &Pki::new()), "another authority's word was taken");
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(gate.call("GET", &agent_path(A, "/messages")).token(&token).send().status, 200);
}

/// Browsers are told to come within TLS where that is configured, by every answer within it, whatever it
/// is, and by none otherwise.
#[test]
fn browsers_are_told_to_stay_within_tls_if_it_is_configured() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    for (setting, told) in [("365d", Some("max-age=31536000")), ("0s", None)] {
        let settings = [("tls.strict_transport", setting.into())];
        let gate = Gate::start_tls(&recorder, &pki, &settings);
        for target in [&agent_path(A, "/messages"), "/v1/a#b"] {
            let answer = gate.call("GET", target).open().answer("GET");
            assert_eq!(answer.header("strict-transport-security"), told, "{target}");
        }
    }
}

/// H-06: the certificate that was shown is for `a.test`, and the request for `b.test`, which the gate
/// serves as well. A certificate that is for both may serve both.
#[test]
fn request_for_a_host_that_the_certificate_is_not_for_is_misdirected() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let pair = |names: &[&str], stem| pki.leaf(names).write(directory.path(), stem);
    let certificates =
        vec![pair(&[HOST, "also.test"], "gate"), pair(&["a.test"], "a"), pair(&["b.test"], "b")];
    let gate = Gate::start_tls(&recorder, &pki, &[("tls.certificates", certificates.into())]);
    let token = mint(&gate, A, &["read_messages"]);
    let call = |host: &str| gate.call("GET", &agent_path(A, "/messages")).token(&token).host(host);
    for (connected_to, asked, status) in [
        ("a.test", "a.test", 200),
        ("a.test", "A.test:8284", 200),
        ("a.test", "b.test", 421),
        ("b.test", "a.test", 421),
        (HOST, "also.test", 200),
        (HOST, "b.test", 421),
    ] {
        let mut connection = Connection::open_secure(gate.public(), &pki, connected_to).unwrap();
        let answer = call(asked).send_on(&mut connection);
        assert_eq!(answer.status, status, "{connected_to} {asked}: {}", answer.text());
        if status == 421 {
            assert_eq!(answer.code(), "misdirected_request");
        }
    }
    let mut http2 = super::harness::http2::Http2::open(gate.public(), &pki);
    assert_eq!(http2.send(&call(HOST)).status, 200);
    assert_eq!(http2.send(&call("also.test")).status, 200);
    assert_eq!(http2.send(&call("a.test")).code(), "misdirected_request");
}

/// G-01: certificate and key are exchanged, then half-written, then mismatched, while clients connect
/// all the time.
#[test]
fn certificates_change_without_a_failed_handshake_and_a_bad_pair_changes_nothing() {
    let (recorder, old) = (Recorder::start(), Pki::new());
    let gate = Gate::start_tls(&recorder, &old, &[]);
    let token = mint(&gate, A, &["read_messages"]);
    let (new, stop) = (Pki::new(), AtomicBool::new(false));
    let (served, address) = (AtomicUsize::new(0), gate.public());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let either = old.or(&new);
                    let mut connection = Connection::open_secure(address, &either, HOST)
                        .unwrap_or_else(|error| panic!("a handshake failed: {error}"));
                    let call = Call::to(address, "GET", &agent_path(A, "/messages")).token(&token);
                    assert_eq!(call.send_on(&mut connection).status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let at_least = |more: usize| {
            let enough = served.load(Ordering::Relaxed) + more;
            eventually("clients are served", || served.load(Ordering::Relaxed) >= enough);
        };
        at_least(5);
        new.leaf(&[HOST]).write(gate.directory(), "gate");
        eventually("the new certificate is shown", || is_trusted(&gate, &new));
        at_least(5);

        let failures = metric(&gate, "ckgate_reload_failures_total");
        let whole = fs::read_to_string(gate.directory().join("gate.pem")).unwrap();
        fs::write(gate.directory().join("gate.pem"), &whole[..whole.len() / 2]).unwrap();
        eventually("a half-written certificate is reported", || {
            metric(&gate, "ckgate_reload_failures_total") > failures
        });
        assert!(is_trusted(&gate, &new));

        let failures = metric(&gate, "ckgate_reload_failures_total");
        let other: Leaf = new.leaf(&[HOST]);
        fs::write(gate.directory().join("gate.pem"), other.certificate).unwrap();
        eventually("a mismatched pair is reported", || {
            metric(&gate, "ckgate_reload_failures_total") > failures
        });
        assert!(is_trusted(&gate, &new));
        at_least(5);
        stop.store(true, Ordering::Relaxed);
    });
}

/// D-08: handshakes that do not go on have a deadline, and only so many may be under way.
#[test]
fn handshakes_are_bounded_in_time_and_number() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let settings = [("tls.handshake_timeout", "1500ms".into()), ("tls.handshakes_max", 4.into())];
    let gate = Gate::start_tls(&recorder, &pki, &settings);
    let mut silent: Vec<Connection> = Vec::new();
    let shed = r#"ckgate_tls_handshakes_total{outcome="shed"}"#;
    for _ in 0..40 {
        silent.push(Connection::open(gate.public()));
    }
    eventually("handshakes beyond the limit are closed", || metric(&gate, shed) > 0);
    for connection in &mut silent {
        connection.assert_closed();
    }
    let late = r#"ckgate_tls_handshakes_total{outcome="timeout"}"#;
    eventually("each is counted", || metric(&gate, late) + metric(&gate, shed) == 40);
    assert!(is_trusted(&gate, &pki), "nobody is served afterwards");
}

/// D-08: what is no handshake, or one in fragments that never ends, is closed.
#[test]
fn what_is_no_handshake_is_closed() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let gate = Gate::start_tls(&recorder, &pki, &[("tls.handshake_timeout", "1s".into())]);
    let hello_without_end = [&[22_u8, 3, 1, 0, 4][..], &[1, 0, 64, 0]].concat();
    for bytes in [b"\x00".as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[0x80; 64], &hello_without_end] {
        let mut connection = Connection::open(gate.public());
        connection.send(bytes);
        let received = connection.until_close();
        assert!(!String::from_utf8_lossy(&received).contains("HTTP"), "{received:?}");
    }
    assert!(is_trusted(&gate, &pki));
}

#[test]
fn admin_listener_takes_only_clients_with_a_certificate_of_its_authority() {
    let (recorder, pki, operators) = (Recorder::start(), Pki::new(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let clients = directory.path().join("operators.pem");
    fs::write(&clients, operators.pem()).unwrap();
    let settings =
        [("tls.admin", "tls".into()), ("tls.admin_clients", clients.to_str().unwrap().into())];
    let gate = Gate::start_tls(&recorder, &pki, &settings);
    let ask = |own: Option<&Leaf>| -> String {
        use std::io::{Read as _, Write as _};
        let stream = TcpStream::connect(gate.admin()).unwrap();
        let Ok(mut stream) = pki.connect(stream, HOST, &[b"http/1.1"], own) else {
            return String::new();
        };
        let request = "GET /healthz HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n";
        let (mut text, _) = (String::new(), stream.write_all(request.as_bytes()));
        let _ = stream.read_to_string(&mut text);
        text
    };
    assert!(ask(Some(&operators.leaf(&["operator"]))).starts_with("HTTP/1.1 200"));
    assert_eq!(ask(None), "");
    assert_eq!(ask(Some(&pki.leaf(&["operator"]))), "");
}

/// Callers that leave no place for another handshake do not keep an operator out.
#[test]
fn admin_listener_has_handshakes_of_its_own() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let settings = [
        ("tls.admin", "tls".into()),
        ("tls.handshakes_max", 1.into()),
        ("tls.handshake_timeout", "1m".into()),
    ];
    let gate = Gate::start_tls(&recorder, &pki, &settings);
    let mut silent: Vec<Connection> = Vec::new();
    eventually("nobody else is let in", || {
        silent.push(Connection::open(gate.public()));
        !is_trusted(&gate, &pki)
    });
    assert!(Connection::open_secure(gate.admin(), &pki, HOST).is_ok());
}

/// G-05: versions before 1.2 are answered with an alert and nothing else.
#[test]
fn old_versions_of_tls_are_refused() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let gate = Gate::start_tls(&recorder, &pki, &[]);
    for version in [[3, 0], [3, 1], [3, 2]] {
        // Random, no session, two suites that were usual then, no compression.
        let hello = [&version[..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]].concat();
        let length = u8::try_from(hello.len()).unwrap();
        let message = [&[1, 0, 0, length][..], &hello].concat();
        let record = [&[22, 3, 1, 0, length + 4][..], &message].concat();
        let mut connection = Connection::open(gate.public());
        connection.send(record);
        let received = connection.until_close();
        assert_eq!(received.first(), Some(&21), "{version:?}: {received:?}");
    }
    assert!(is_trusted(&gate, &pki));
}

/// G-05: nothing may be sent before the handshake ends, not even on a session that is taken up again.
#[test]
fn session_that_is_taken_up_again_admits_no_early_data() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let gate = Gate::start_tls(&recorder, &pki, &[]);
    let mut config = (*pki.client(&[b"http/1.1"], None)).clone();
    config.enable_early_data = true;
    let config = std::sync::Arc::new(config);
    let name = || rustls::pki_types::ServerName::try_from(HOST).unwrap();
    for resumed in [false, true] {
        use std::io::{Read as _, Write as _};
        let mut client = rustls::ClientConnection::new(config.clone(), name()).unwrap();
        assert!(client.early_data().is_none(), "resumed: {resumed}");
        let mut stream = TcpStream::connect(gate.public()).unwrap();
        stream.set_read_timeout(Some(super::harness::DEADLINE)).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut stream).unwrap();
        }
        let kind = client.handshake_kind();
        let mut stream = rustls::StreamOwned::new(client, stream);
        let request = "GET /v1/agents/ HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed, "{kind:?}");
    }
}
