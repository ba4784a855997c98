use super::{KEY, OTHER_KEY, check, check_line, problems};

#[test]
fn unknown_keys_and_sections_are_refused_with_the_known_ones() {
    check_line(
        "listen.publik = 1",
        "unknown key `listen.publik`: the keys here are `public`, `admin`, `control`, `decision` and `decision_grpc`",
    );
    check(
        "[cache]\nentries = 5",
        &[],
        &[
            "line 2: unknown key `cache.entries`: the keys here are `entries_max` and `lifetime_max`",
        ],
    );
}

#[test]
fn wrong_kinds_of_value_are_refused() {
    check_line("listen = 3", "`listen` must be a table, not an integer");
    check_line("listen.public = 8284", "`listen.public` must be a string, not an integer");
    check_line("log.level = true", "`log.level` must be a string, not a boolean");
    check_line("accounts = {}", "`accounts` must be a list of tables, not a table");
    check_line("accounts = [1]", "`accounts[0]` must be a table, not an integer");
    check_line(
        "limits.headers_max = \"64\"",
        "`limits.headers_max` must be an integer from 16 to 1000, not a string",
    );
    check_line(
        "limits.headers_max = 1.5",
        "`limits.headers_max` must be an integer from 16 to 1000, not a float",
    );
    check_line(
        "limits.body_bytes_max = 99999999999999999999",
        "`limits.body_bytes_max` must be an integer from 1024 to 1099511627776, \
         not an integer beyond 64 bits",
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    check_line(
        "limits.headers_max = -1",
        "`limits.headers_max` must be an integer from 16 to 1000, not `-1`",
    );
    check_line(
        "upstream.keep_alive = \"5s\"",
        "`upstream.keep_alive` must be from 0s to 4s 999ms, not `5s`",
    );
    check_line(
        "tokens.max_lifetime = \"1m\"",
        "`tokens.max_lifetime` must be from 5m to 8784h, not `1m`",
    );
    for wrong in ["3", "3 parsecs", "-3s", "3s ago", "", "1 month"] {
        check_line(
            &format!("revocation.max_staleness = \"{wrong}\""),
            &format!(
                "`revocation.max_staleness` must be a duration such as \"30s\", not `{wrong}`"
            ),
        );
    }
    check(
        "limits = { head_bytes_max = 8192, target_bytes_max = 9000 }",
        &[],
        &["`limits.target_bytes_max` is more than `limits.head_bytes_max`, which holds the target"],
    );
}

#[test]
fn words_outside_the_list_are_refused_with_the_list() {
    check_line(
        "hostname.without_origin = \"permit\"",
        "`hostname.without_origin` must be `refuse` or `allow`, not `permit`",
    );
    check_line(
        "cors.preflight = \"ANY\"",
        "`cors.preflight` must be `live_origins` or `any`, not `ANY`",
    );
    check_line("log.format = \"\"", "`log.format` must be `json` or `text`, not ``");
    check_line(
        "log.level = \"off\"",
        "`log.level` must be `error`, `warn`, `info`, `debug` or `trace`, not `off`",
    );
}

#[test]
fn addresses_must_be_addresses_and_different() {
    for wrong in ["localhost:80", "127.0.0.1", ":80", "127.0.0.1:99999"] {
        check_line(
            &format!("listen.public = \"{wrong}\""),
            &format!(
                "`listen.public` must be an IP address and port such as `127.0.0.1:8284`, \
                 not `{wrong}`"
            ),
        );
    }
    let message = "`listen.public` and `listen.admin` are the same address";
    check("listen.public = \"127.0.0.1:8285\"", &[], &[message]);
    let message = "`listen.control` and `listen.public` are the same address";
    check("listen.control = \"127.0.0.1:8284\"", &[], &[message]);
    let any = "listen = { public = \"127.0.0.1:0\", admin = \"127.0.0.1:0\" }";
    check(any, &[], &[]);
}

#[test]
fn lists_of_addresses_hold_addresses_and_nothing_else() {
    for key in ["proxies.addresses", "decision.peers"] {
        for (wrong, shown) in [("\"localhost\"", "`localhost`"), ("7", "an integer")] {
            check_line(
                &format!("{key} = [\"::1\", {wrong}]"),
                &format!("`{key}[1]` must be an IP address, not {shown}"),
            );
        }
        check_line(
            &format!("{key} = \"127.0.0.1\""),
            &format!("`{key}` must be a list, not a string"),
        );
    }
}

#[test]
fn upstream_that_could_lead_elsewhere_is_refused() {
    let url = |url: &str| problems(&format!("upstream.url = '{url}'"), &[]);
    for metadata in [
        "http://169.254.169.254",
        "http://169.254.169.254:80/",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0251.0376.0251.0376",
        "http://[::ffff:169.254.169.254]",
        "http://[fe80::1]:8283",
        "http://[fd00:ec2::254]",
    ] {
        let found = url(metadata);
        assert!(found.contains("link-local or metadata"), "{metadata}: {found}");
    }
    for (wrong, part) in [
        ("https://letta.example/v1", "without path or query"),
        ("https://user@letta.example", "must not hold a user"),
        ("file:///etc/passwd", "must start with `http://`"),
        ("localhost:8283", "must start with `http://`"),
        ("HTTP://localhost", "must start with `http://`"),
        ("", "must start with `http://`"),
        ("http:///x", "must be a URL"),
        ("http://", "must be a URL"),
        ("http://a b", "must be a URL"),
        ("http://a\\b", "must be a URL"),
        ("http://a\tb", "must be a URL"),
        ("http://a:99999", "must be a URL"),
        ("http://a/v1", "without path or query"),
        ("http://a?b", "without path or query"),
        ("http://a#b", "without path or query"),
        ("http://127.0.0.1:8284", "is this gate itself"),
        ("http://127.0.0.1:8285", "is this gate itself"),
    ] {
        let found = url(wrong);
        assert!(found.contains(part), "{wrong}: {found}");
    }
    let any = "listen.public = '0.0.0.0:8283'";
    check(any, &[], &["`upstream.url` is this gate itself: it listens at `http://127.0.0.1:8283`"]);
    for leak in ["http://user:hunter2@a", "http://hunter2@a"] {
        let found = url(leak);
        assert!(found.contains("user or password") && !found.contains("hunter2"), "{found}");
    }
}

#[test]
fn store_must_be_a_plain_file() {
    let url = |url: &str| problems(&format!("store.url = \"{url}\""), &[]);
    for (wrong, part) in [
        ("postgres://ckgate:hunter2@db/ckgate", "holds a password in clear"),
        ("postgresql://db", "names no user"),
        ("postgres://ckgate@db/ckgate?sslmode=prefer", "do not verify who answers"),
        ("postgres://ckgate@db/ckgate?sslmode=require", "do not verify who answers"),
        ("postgres://ckgate@db/ckgate?password=hunter2", "holds a password in clear"),
        ("postgres://ckgate@db/ckgate?sslcert=hunter2", "is no PostgreSQL URL"),
        ("postgres://ckgate@:hunter2", "is no PostgreSQL URL"),
        ("mysql://ckgate:hunter2@db", "must be `sqlite:` and a path"),
        ("ckgate.db", "must be `sqlite:` and a path"),
        ("sqlite:", "a plain path"),
        ("sqlite:///var/lib/ckgate.db", "a plain path"),
        ("sqlite:file:x", "a plain path"),
        ("sqlite:x?mode=ro", "a plain path"),
        ("sqlite::memory:", "survive a restart"),
    ] {
        let found = url(wrong);
        assert!(found.contains(part) && !found.contains("hunter2"), "{wrong}: {found}");
    }
}

#[test]
fn accounts_are_refused_when_ambiguous_or_without_keys() {
    let variables = [("A", KEY), ("B", OTHER_KEY), ("SHORT", "sk-let-short")];
    let accounts = |text: &str| problems(&format!("accounts = [{text}]"), &variables);
    for (wrong, part) in [
        ("", "no account has a server key"),
        ("{ name = 'a' }", "no account has a server key"),
        ("{ server_keys = [{ env = 'A' }] }", "`accounts[0].name` is missing"),
        ("{ name = 'Ä', server_keys = [{ env = 'A' }] }", "`accounts[0].name` must be 1 to 64"),
        ("{ name = 'a', server_keys = { env = 'A' } }", "must be a list, not a table"),
        ("{ name = 'a', server_keys = [{ env = 'SHORT' }] }", "is no server key"),
        (
            "{ name = 'a', server_keys = [{ env = 'A' }, { env = 'A' }] }",
            "`accounts[0].server_keys[1]` is the same server key as `accounts[0].server_keys[0]`",
        ),
        (
            "{ name = 'a', server_keys = [{ env = 'A' }] }, \
             { name = 'b', server_keys = [{ env = 'A' }] }",
            "`accounts[1].server_keys[0]` is the same server key as `accounts[0].server_keys[0]`",
        ),
        (
            "{ name = 'a', server_keys = [{ env = 'A' }] }, { name = 'a' }",
            "two accounts have the name `a`",
        ),
        (
            "{ name = 'a', server_keys = [{ env = 'A' }], user_id = 'user-1' }",
            "must be `user-` and a lower-case UUID",
        ),
        (
            "{ name = 'a', server_keys = [{ env = 'A' }], role = 1 }",
            "unknown key `accounts[0].role`",
        ),
    ] {
        let found = accounts(wrong);
        assert!(found.contains(part) && found.lines().count() == 1, "{wrong}: {found}");
        assert!(!found.contains("sk-let-A") && !found.contains("short"), "{found}");
    }
    let two = "{ name = 'a', server_keys = [{ env = 'A' }] }, { name = 'b', server_keys = [{ env = 'B' }] }";
    assert_eq!(accounts(two), "");
}

#[test]
fn no_server_key_anywhere_is_refused() {
    let found = super::super::Config::from_toml("", []).err().map(|p| p.to_string());
    assert!(found.as_deref().is_some_and(|p| p.starts_with("there is no server key")), "{found:?}");
}

#[test]
fn token_keys_need_distinct_ids_and_master_keys() {
    let variables = [("M", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ("BAD", "hunter2")];
    let keys = |text: &str| problems(&format!("tokens.keys = [{text}]"), &variables);
    for (wrong, part) in [
        ("", "`tokens.keys` is empty"),
        ("{ env = 'M' }", "`tokens.keys[0].id` is missing"),
        ("{ id = 256, env = 'M' }", "`tokens.keys[0].id` must be an integer from 1 to 255"),
        ("{ id = 0, env = 'M' }", "`tokens.keys[0].id` must be an integer from 1 to 255"),
        ("{ id = 1, env = 'BAD' }", "this is no master key"),
        ("{ id = 1 }", "`tokens.keys[0]` must have one of `env` and `file`"),
        ("{ id = 1, env = 'M' }, { id = 1, env = 'M' }", "two of `tokens.keys` have the id `1`"),
    ] {
        let found = keys(wrong);
        assert!(found.contains(part) && found.lines().count() == 1, "{wrong}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    assert_eq!(keys("{ id = 2, env = 'M' }, { id = 1, env = 'M' }"), "");
}

#[test]
fn syntax_errors_are_reported_with_their_lines_and_without_the_text() {
    let found = problems("[upstream]\ncredential = hunter2\n[listen]\npublic = \n", &[]);
    let starts: Vec<&str> = found.lines().filter_map(|line| line.get(..16)).collect();
    assert_eq!(starts, ["line 2: not TOML", "line 4: not TOML"], "{found}");
    assert!(!found.contains("hunter2"), "{found}");
    assert!(problems("a = 1\na = 2", &[]).starts_with("line 2: not TOML: duplicate key"));
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    check(
        "[log]\nlevel = \"loud\"\n[listen]\nadmin = \"x\"\ncolour = 1\n[tokens]\nkeys = []\n[nonsense]\n",
        &[("CKGATE_CACHE__ENTRIES_MAX", "0"), ("CKGATE_CACHE__SIZE", "1")],
        &[
            "line 2: `log.level` must be `error`, `warn`, `info`, `debug` or `trace`, not `loud`",
            "line 4: `listen.admin` must be an IP address and port such as `127.0.0.1:8284`, not `x`",
            "line 5: unknown key `listen.colour`: the keys here are `public`, `admin`, `control`, `decision` and `decision_grpc`",
            "line 7: `tokens.keys` is empty: `ckgate key new` prints a key",
            "line 8: unknown key `nonsense`: the keys here are `listen`, `tls`, `upstream`, `accounts`, \
             `store`, `tokens`, `hostname`, `cors`, `cache`, `revocation`, `streams`, `limits`, \
             `decision`, `console`, `server`, `log`, `proxies`, `audit`, `traces` and `routes`",
            "CKGATE_CACHE__ENTRIES_MAX: `cache.entries_max` must be an integer from 1 to 100000000, \
             not `0`",
            "CKGATE_CACHE__SIZE: unknown key `cache.size`: the keys here are `entries_max` and \
             `lifetime_max`",
        ],
    );
}

#[test]
fn what_the_operator_typed_cannot_write_to_the_terminal() {
    let long = "x".repeat(5000);
    let found = problems(&format!("log.level = \"\\u001b[2J\\n{long}\""), &[]);
    assert!(found.contains("`\\u{1b}[2J\\nxxx") && found.len() < 400, "{found}");
}
