//! Whose address stands in the log: the connection's, unless a configured proxy says otherwise.

use crate::harness::{Connection, Gate, Recorder, field};

fn gate(recorder: &Recorder, proxies: &[&str], tell: &str) -> Gate {
    let proxies: Vec<toml::Value> = proxies.iter().map(|address| (*address).into()).collect();
    let settings = [("proxies.addresses", proxies.into()), ("proxies.tell", tell.into())];
    Gate::start_with(recorder, &settings)
}

/// The address of the request that was logged as number `at`.
fn logged(gate: &Gate, at: usize) -> String {
    let mut found = Vec::new();
    crate::harness::eventually("the request is logged", || {
        let lines = gate.log_lines();
        let addresses = lines.iter().filter_map(|line| field(line, "client.address"));
        found = addresses.map(|address| address.as_str().unwrap().to_owned()).collect();
        found.len() > at
    });
    found.remove(at)
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
}

const REQUEST: &str = "GET /v1/agents/ HTTP/1.1\r\nHost: gw.test\r\n\r\n";

#[test]
fn headers_of_anybody_but_a_configured_proxy_are_not_believed() {
    let recorder = Recorder::start();
    for (proxies, tell, expected) in [
        (&[][..], "x-forwarded-for", "127.0.0.1"),
        (&["192.0.2.1"], "x-forwarded-for", "127.0.0.1"),
        (&["127.0.0.1"], "x-real-ip", "203.0.113.9"),
        (&["127.0.0.1"], "x-forwarded-for", "203.0.113.2"),
    ] {
        let gate = gate(&recorder, proxies, tell);
        let call = gate.call("GET", "/v1/agents/");
        let call = call.header("X-Forwarded-For", "203.0.113.1").header("X-Real-IP", "203.0.113.9");
        call.header("X-Forwarded-For", "198.51.100.1, 203.0.113.2").send();
        assert_eq!(logged(&gate, 0), expected, "{proxies:?} {tell}");
    }
    let gate = gate(&recorder, &["127.0.0.1"], "x-forwarded-for");
    for (at, nonsense) in ["", "unknown", "1.2.3.4:80", "1.2.3.4,", "x, y"].into_iter().enumerate()
    {
        gate.call("GET", "/v1/agents/").header("X-Forwarded-For", nonsense).send();
        assert_eq!(logged(&gate, at), "127.0.0.1", "{nonsense}");
    }
    recorder.assert_untouched();
}

#[test]
fn proxy_protocol_is_read_from_a_configured_proxy_and_nothing_else_is_from_it() {
    let recorder = Recorder::start();
    let gate = gate(&recorder, &["127.0.0.1"], "proxy_protocol");
    let v4 = [&[203, 0, 113, 7][..], &[127, 0, 0, 1], &[1, 1, 2, 2]].concat();
    let mut v6 = vec![0x20, 1, 0xd, 0xb8];
    v6.extend_from_slice(&[0; 11]);
    v6.push(5);
    v6.extend_from_slice(&[0; 20]);
    let local: Vec<u8> = Vec::new();
    for (at, (header, expected)) in [
        (version_2(0x21, 0x11, &v4), "203.0.113.7"),
        (version_2(0x21, 0x21, &v6), "2001:db8::5"),
        (version_2(0x20, 0, &local), "127.0.0.1"),
        (version_2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), "203.0.113.7"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut connection = Connection::open(gate.public());
        connection.send(header);
        connection.send(REQUEST);
        assert_eq!(connection.answer("GET").status, 401);
        assert_eq!(logged(&gate, at), expected);
    }
    for wrong in [
        REQUEST.as_bytes().to_vec(),
        b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n".to_vec(),
        version_2(0x21, 0x12, &v4),
        version_2(0x22, 0x11, &v4),
        version_2(0x31, 0x11, &v4),
        version_2(0x21, 0x11, &v4[..8]),
        version_2(0x21, 0x11, &[0; 4000]),
    ] {
        let mut connection = Connection::open(gate.public());
        connection.send([&wrong[..], REQUEST.as_bytes()].concat());
        assert_eq!(connection.until_close(), b"", "{wrong:?}");
    }
}
