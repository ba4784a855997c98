//! A configuration that changes while the gate runs: in one step, or not at all.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{
    A, Call, Connection, Gate, ORIGIN, Recorder, SERVER_KEY, TOKENS, agent_path, count, edit,
    eventually, field, hang_up, mint, replace, says, section,
};

const NEW_KEY: &str = "sk-let-test0server0key0of0the0next00account0000";

#[test]
fn accounts_limits_cors_and_routes_hold_anew_after_a_signal() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let read = || gate.call("GET", &agent_path(A, "/messages")).token(&token);
    assert_eq!(read().send().status, 200);
    let ask = |key: &str| gate.call("GET", TOKENS).bearer(key).send().status;
    let preflight = || {
        let call = gate.call("OPTIONS", &agent_path(A, "/messages")).origin("https://new.test");
        call.header("Access-Control-Request-Method", "GET").send().status
    };
    assert_eq!((ask(SERVER_KEY), ask(NEW_KEY), preflight()), (200, 401, 403));

    // The next server key, CORS for all, a limit, and a table in which the operation is closed.
    fs::write(gate.directory().join("server-key"), NEW_KEY).unwrap();
    let built_in = include_str!("../../config/routes/letta.toml");
    let marker = "name = \"agents.messages.list\"";
    assert!(built_in.contains(marker));
    let routes = gate.directory().join("routes.toml");
    let operation = built_in.find(marker).unwrap();
    let until = built_in[operation..].find("[[").map_or(built_in.len(), |at| operation + at);
    let start = built_in[..operation].rfind("[[").unwrap();
    fs::write(&routes, format!("{}{}", &built_in[..start], &built_in[until..])).unwrap();
    edit(&gate, |table| {
        section(table, "cors").insert("preflight".to_owned(), "any".into());
        section(table, "limits").insert("target_bytes_max".to_owned(), 300.into());
        section(table, "routes").insert("file".to_owned(), routes.to_str().unwrap().into());
    });
    hang_up(&gate);
    assert_eq!((ask(SERVER_KEY), ask(NEW_KEY), preflight()), (401, 200, 204));
    assert_eq!(read().send().code(), "route_not_allowed");
    let long = gate.call("GET", &format!("/v1/{}", "a".repeat(400))).token(&token);
    assert_eq!(long.send().status, 414);
}

/// Once it is said to hold: also on a core that has not woken since.
#[test]
fn new_configuration_holds_for_the_next_request_on_every_core() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("server.workers", 8.into())]);
    let token = mint(&gate, A, &["read_messages"]);
    // Connections stay with the core that accepted them.
    let mut kept: Vec<_> = (0..24).map(|_| Connection::open(gate.public())).collect();
    for round in 0..20 {
        let (without_origin, status) =
            if round % 2 == 0 { ("refuse", 403) } else { ("allow", 200) };
        edit(&gate, |table| {
            let section = section(table, "hostname");
            section.insert("without_origin".to_owned(), without_origin.into());
        });
        hang_up(&gate);
        let read = gate.call("GET", &agent_path(A, "/messages")).bearer(&token);
        for connection in &mut kept {
            assert_eq!(read.send_on(connection).status, status, "round {round}");
        }
    }
}

#[test]
fn changed_file_is_taken_up_without_a_signal() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    fs::write(gate.directory().join("server-key"), NEW_KEY).unwrap();
    eventually("the new key holds", || {
        gate.call("GET", TOKENS).bearer(NEW_KEY).send().status == 200
    });
    assert_eq!(gate.call("GET", TOKENS).bearer(SERVER_KEY).send().status, 401);
}

#[test]
fn configuration_that_cannot_be_used_changes_nothing_and_says_why() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let good = fs::read_to_string(gate.directory().join("ckgate.toml")).unwrap();
    let bad_routes = gate.directory().join("routes.toml");
    fs::write(&bad_routes, "[[operation]]\nname = 3\n").unwrap();
    let with_routes = format!("{good}\n[routes]\nfile = {bad_routes:?}\n");
    let name = "name = \"default\"";
    let in_shadow = good.replacen(name, &format!("{name}\nenforce = false"), 1);
    let pair = "{ certificate = \"nowhere.pem\", key = \"nowhere.key\" }";
    let in_shadow = format!("{in_shadow}\n[tls]\ncertificates = [{pair}]\n[server]\nworkers = 7\n");
    for (text, why) in [
        ("accounts = [".to_owned(), "not TOML"),
        (good.replace("[limits]", "[limits]\nno_such_key = 1"), "no_such_key"),
        (with_routes, "route table"),
        (in_shadow, "nowhere.pem"),
    ] {
        let failures = count(&gate, "ckgate_reload_failures_total");
        replace(gate.directory().join("ckgate.toml"), &text);
        gate.signal("HUP");
        let said = gate.log().wait_for("the reason", |line| {
            let level = field(line, "level")?;
            (level == "ERROR" && line.contains(why)).then_some(())
        });
        assert!(said.is_some());
        assert!(count(&gate, "ckgate_reload_failures_total") > failures);
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        assert_eq!(answer.status, 200, "{why}");
        assert_eq!(gate.call("GET", TOKENS).bearer(SERVER_KEY).send().status, 200);
    }
    assert_eq!(count(&gate, "ckgate_reloads_total"), 0);
    assert_eq!(count(&gate, "ckgate_shadow_accounts"), 0, "the old configuration enforces");
    let lines = gate.log_lines();
    assert!(!lines.iter().any(|line| line.contains("from the next start on")), "{lines:#?}");
}

/// The file that is at fault may be one that the configuration did not name before: a secret, without
/// which it is not even read to its end, or another.
#[test]
fn file_that_was_named_just_now_is_taken_up_once_it_is_mended() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let routes = gate.directory().join("routes.toml");
    fs::write(&routes, "nonsense").unwrap();
    let credential = gate.directory().join("console");
    edit(&gate, |table| {
        section(table, "routes").insert("file".to_owned(), routes.to_str().unwrap().into());
        let mut file = toml::Table::new();
        file.insert("file".to_owned(), credential.to_str().unwrap().into());
        section(table, "console").insert("credential".to_owned(), file.into());
    });
    gate.signal("HUP");
    let failures = || count(&gate, "ckgate_reload_failures_total");
    eventually("the secret is reported", || failures() == 1);
    let beside = credential.with_extension("new");
    fs::write(&beside, "c".repeat(30)).unwrap();
    set_mode(&beside);
    fs::rename(beside, &credential).unwrap();
    eventually("the table is reported", || failures() == 2);
    replace(&routes, include_str!("../../config/routes/letta.toml"));
    eventually("it is taken up", || count(&gate, "ckgate_reloads_total") > 0);
}

/// G-02: two configurations in turn, each with another server key and another limit, while callers
/// with either key ask all the time. A mixture would be the key of one with the limit of the other.
#[test]
fn no_request_is_judged_by_a_mixture_of_two_configurations() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let key_file = gate.directory().join("server-key");
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gate.public();
    std::thread::scope(|scope| {
        for (key, lifetime_days) in [(SERVER_KEY, 30), (NEW_KEY, 20)] {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                // Just within the lifetime of this key's configuration, and beyond the other's, or
                // well within both: with this key, its own limit is the only one that may hold.
                while !stop.load(Ordering::Relaxed) {
                    for days in [19, 29] {
                        let ahead = std::time::Duration::from_secs(days * 24 * 3600);
                        let body = json!({
                            "policy": [{"type": "agent", "id": A, "access": ["read_messages"]}],
                            "hostname": ORIGIN,
                            "expires_at": crate::harness::from_now(ahead),
                        });
                        let call = Call::to(address, "POST", TOKENS).bearer(key).json(&body);
                        let expected = if days < lifetime_days { 201 } else { 400 };
                        let status = call.send().status;
                        assert!(status == 401 || status == expected, "{key} {days}: {status}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for turn in 0..12 {
            let (key, lifetime) =
                if turn % 2 == 0 { (NEW_KEY, "20d") } else { (SERVER_KEY, "30d") };
            fs::write(key_file.with_extension("next"), key).unwrap();
            let next = key_file.with_extension("next");
            let moved = gate.directory().join(format!("server-key-{turn}"));
            fs::rename(next, &moved).unwrap();
            set_mode(&moved);
            edit(&gate, |table| {
                section(table, "tokens").insert("max_lifetime".to_owned(), lifetime.into());
                let accounts = table["accounts"].as_array_mut().unwrap();
                let account = accounts[0].as_table_mut().unwrap();
                let mut file = toml::Table::new();
                file.insert("file".to_owned(), moved.to_str().unwrap().into());
                account.insert("server_keys".to_owned(), vec![toml::Value::from(file)].into());
            });
            hang_up(&gate);
            let enough = asked.load(Ordering::Relaxed) + 20;
            eventually("callers go on", || asked.load(Ordering::Relaxed) >= enough);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn set_mode(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn open_stream_goes_on_over_a_change() {
    let more = crate::harness::Signal::new();
    let wait = more.clone();
    let recorder = Recorder::with(move |_| {
        crate::harness::Reply::stream().event("first").wait(&wait).event("second").last_chunk()
    });
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["write_messages"]);
    let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(&token);
    let (answer, mut connection) = call.json(&says("hello")).start();
    assert_eq!(answer.status, 200);
    connection.read_until("the first event", |text| text.contains("first"));
    edit(&gate, |table| {
        section(table, "limits").insert("connections_max".to_owned(), 50.into());
    });
    hang_up(&gate);
    more.raise();
    assert!(connection.rest().contains("second"));
}

#[test]
fn log_level_changes_with_the_configuration() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    edit(&gate, |table| {
        section(table, "log").insert("level".to_owned(), "error".into());
    });
    gate.signal("HUP");
    eventually("the configuration is taken up", || count(&gate, "ckgate_reloads_total") > 0);
    let requests = || gate.log_lines().iter().filter(|l| l.contains("ckgate::request")).count();
    let before = requests();
    assert_eq!(gate.call("GET", "/v1/tools/").send().status, 401);
    edit(&gate, |table| {
        section(table, "log").insert("level".to_owned(), "info".into());
    });
    hang_up(&gate);
    assert_eq!(gate.call("GET", "/v1/tools/").send().status, 401);
    eventually("requests are logged again", || requests() > before);
    assert_eq!(requests(), before + 1);
}

/// What holds only from the next start on is said, by name, and nothing else is.
#[test]
fn key_that_needs_a_start_is_named_and_the_rest_is_taken_up() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let credential = gate.directory().join("console");
    fs::write(&credential, "c".repeat(30)).unwrap();
    set_mode(&credential);
    edit(&gate, |table| {
        let mut set = |name: &str, key: &str, value: toml::Value| {
            section(table, name).insert(key.to_owned(), value);
        };
        set("listen", "public", "127.0.0.1:1".into());
        let elsewhere = gate.directory().join("elsewhere.db");
        set("store", "url", format!("sqlite:{}", elsewhere.display()).into());
        set("cache", "entries_max", 77.into());
        set("revocation", "max_staleness", "2s".into());
        set("server", "workers", 7.into());
        set("log", "format", "text".into());
        set("audit", "file", gate.directory().join("audit.log").to_str().unwrap().into());
        set("traces", "endpoint", "http://127.0.0.1:1".into());
        let mut file = toml::Table::new();
        file.insert("file".to_owned(), credential.to_str().unwrap().into());
        set("console", "credential", file.into());
        set("limits", "target_bytes_max", 300.into());
    });
    hang_up(&gate);
    let named = |line: &String| {
        let message = field(line, "message")?;
        let says = message.as_str()?.contains("holds from the next start on");
        says.then(|| field(line, "key").unwrap().as_str().unwrap().to_owned())
    };
    let keys = || gate.log_lines().iter().filter_map(named).collect::<Vec<_>>();
    let expected = [
        "listen",
        "store",
        "cache",
        "revocation",
        "server",
        "log.format",
        "audit.file",
        "traces.endpoint",
    ];
    eventually("every key is named", || keys().len() >= expected.len());
    assert_eq!(keys(), expected);
    let long = gate.call("GET", &format!("/v1/{}", "a".repeat(400))).token(&token);
    assert_eq!(long.send().status, 414, "what can be changed was");
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_eq!(answer.status, 200, "the store is the one it was");
}
