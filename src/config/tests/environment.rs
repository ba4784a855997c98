use std::time::Duration;

use super::super::{CommandLine, Config, LogFormat, Problems};
use super::{KEY, OTHER_KEY, check, environment, load};
use crate::token::Secret;

#[test]
fn variables_of_every_type_win_over_the_file() -> Result<(), Problems> {
    let file =
        "[listen]\npublic = \"127.0.0.1:1\"\n[limits]\nheaders_max = 20\n[log]\nformat = \"json\"";
    let variables = [
        ("CKGATE_LISTEN__PUBLIC", "0.0.0.0:80"),
        ("CKGATE_LISTEN__CONTROL", "\"[::1]:81\""),
        ("CKGATE_LIMITS__HEADERS_MAX", "30"),
        ("CKGATE_LIMITS__REQUESTS_PER_MINUTE_PER_TOKEN", "1_000"),
        ("CKGATE_REVOCATION__MAX_STALENESS", "2500ms"),
        ("CKGATE_TOKENS__MAX_LIFETIME", "7d"),
        ("CKGATE_TOKENS__KEYS", "[{ id = 9, env = \"MASTER\" }]"),
        ("CKGATE_LOG__FORMAT", "text"),
        ("CKGATE_UPSTREAM__CREDENTIAL", "{ env = \"PASSWORD\" }"),
        ("CKGATE_UPSTREAM__URL", "http://Letta.Example:80/"),
        ("CKGATE_ROUTES__FILE", "/etc/ckgate/routes.toml"),
        ("CKGATE_ACCOUNTS", "[{ name = \"shop\", server_keys = [{ env = \"SHOP_KEY\" }] }]"),
        ("MASTER", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("PASSWORD", "hunter2"),
        ("SHOP_KEY", OTHER_KEY),
    ];
    let config = load(file, &variables)?;
    assert_eq!(config.listen.public.to_string(), "0.0.0.0:80");
    assert_eq!(config.listen.control.map(|a| a.to_string()).as_deref(), Some("[::1]:81"));
    assert_eq!(config.limits.headers_max, 30);
    assert_eq!(config.limits.requests_per_minute_per_token, 1000);
    assert_eq!(config.revocation.max_staleness, Duration::from_millis(2500));
    assert_eq!(config.tokens.max_lifetime, Duration::from_hours(7 * 24));
    assert_eq!(config.tokens.keys.ids(), [9]);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.upstream.credential.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(config.upstream.authority, "letta.example");
    assert_eq!((config.upstream.host.as_str(), config.upstream.port), ("letta.example", 80));
    assert_eq!(config.routes.as_ref().and_then(|p| p.to_str()), Some("/etc/ckgate/routes.toml"));
    let names: Vec<&str> = config.accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["shop"]);
    Ok(())
}

#[test]
fn variables_that_name_no_key_are_refused() {
    let elsewhere = "names no key: it is `CKGATE_SECTION__KEY` in upper case, and \
                     `CKGATE_ACCOUNTS` for all accounts as one TOML list";
    let listen = "the keys here are `public`, `admin`, `control`, `decision` and `decision_grpc`";
    check(
        "",
        &[
            ("CKGATE_listen__public", "x"),
            ("CKGATE_ACCOUNTS__NAME", "x"),
            ("CKGATE_LISTEN__PUBLIC__X", "x"),
            ("CKGATE_LISTEN__", "x"),
        ],
        &[
            &format!("CKGATE_ACCOUNTS__NAME: {elsewhere}"),
            &format!("CKGATE_LISTEN__: unknown key `listen.`: {listen}"),
            &format!("CKGATE_LISTEN__PUBLIC__X: unknown key `listen.public__x`: {listen}"),
            &format!("CKGATE_listen__public: {elsewhere}"),
        ],
    );
}

#[test]
fn each_variable_of_an_unknown_section_is_refused() {
    let found = super::problems("", &[("CKGATE_FOO__A", "1"), ("CKGATE_FOO__B", "hunter2")]);
    let starts: Vec<&str> = found.lines().filter_map(|line| line.get(..33)).collect();
    let expected = ["CKGATE_FOO__A: unknown key `foo`:", "CKGATE_FOO__B: unknown key `foo`:"];
    assert_eq!(starts, expected);
    assert!(!found.contains("hunter2"));
}

#[test]
fn lists_are_set_as_a_whole_or_not_at_all() {
    check(
        "",
        &[("CKGATE_ACCOUNTS", "shop"), ("CKGATE_TOKENS__KEYS", "hunter2")],
        &[
            "CKGATE_ACCOUNTS: `accounts` must be a list of tables, not a string",
            "CKGATE_TOKENS__KEYS: `tokens.keys` must be a list of tables, not a string",
        ],
    );
}

#[test]
fn other_variables_do_not_matter() {
    check("", &[("CKGATE_TEST", "1"), ("HOME", "/"), ("ckgate_listen__public", "x")], &[]);
}

#[test]
fn command_line_wins_over_everything() -> Result<(), Problems> {
    let variables = [
        ("CKGATE_SERVER_KEY", KEY),
        ("CKGATE_UPSTREAM__URL", "http://wrong"),
        ("CKGATE_TOKENS__KEYS", "[{ id = 1, env = \"MASTER\" }]"),
        ("MASTER", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ];
    let given = CommandLine {
        upstream: Some("http://[2001:db8::1]:8283".to_owned()),
        listen: Some("127.0.0.1:9000".to_owned()),
    };
    let config = Config::load(None, environment(&variables), given)?;
    assert_eq!(config.upstream.authority, "[2001:db8::1]:8283");
    assert_eq!(config.upstream.host, "2001:db8::1");
    assert_eq!(config.listen.public.port(), 9000);

    let wrong = CommandLine { upstream: Some("ftp://x".to_owned()), listen: Some("x".to_owned()) };
    let found = Config::check(None, environment(&variables), wrong).err().map(|p| p.to_string());
    let expected = "--listen: `listen.public` must be an IP address and port such as \
                    `127.0.0.1:8284`, not `x`\n--upstream: `upstream.url` must start with `http://` \
                    or `https://`";
    assert_eq!(found.as_deref(), Some(expected));
    Ok(())
}
