use std::collections::BTreeMap;
use std::fmt::Write as _;

use ckgate::policy::{Operation, Verdict};

use super::check_against_file;
use super::judge::{self, Judge, OWN, Tested};

/// Every route of the agents API: those of the live server, hidden ones and mirrors included, and
/// every method of both generations of SDKs.
const INVENTORY: &str = include_str!("inventory.tsv");
/// The routes that are left to default deny on purpose, and why.
const DEFAULT_DENY: &str = include_str!("default_deny.tsv");

const HEAD: &str = "\
# What becomes of every route of the agents API when a client token asks for it.
";

struct Route<'i> {
    method: &'i str,
    path: &'i str,
    sdk: Vec<&'i str>,
}

#[test]
fn every_route_is_open_refused_by_name_or_left_to_default_deny_on_purpose() -> Tested {
    let judge = Judge::built_in()?;
    let default_deny = default_deny();
    let (mut open, mut refused, mut by_default, mut undecided) =
        (String::new(), String::new(), String::new(), String::new());
    for route in inventory() {
        let named = format!("{} {}", route.method, route.path);
        let sdk = if route.sdk.is_empty() {
            String::new()
        } else {
            format!(" (SDK {})", route.sdk.join(", "))
        };
        let reason = default_deny.get(named.as_str());
        match (operation_of(&judge, &route), reason) {
            (Some(operation), None) => match &operation.verdict {
                Verdict::Open { permission } => writeln!(
                    open,
                    "{named}{sdk}\n    {} needs {permission}, agent in {}",
                    operation.name, operation.agent
                )?,
                Verdict::Refused { reason } => {
                    writeln!(refused, "{named}{sdk}\n    {}: {reason}", operation.name)?;
                }
            },
            (None, Some(reason)) => writeln!(by_default, "{named}{sdk}\n    {reason}")?,
            (None, None) => writeln!(undecided, "{named}{sdk}")?,
            (Some(operation), Some(_)) => {
                return Err(
                    format!("{named} is {}, not left to default deny", operation.name).into()
                );
            }
        }
    }
    assert_eq!(undecided, "", "undecided routes");
    let said = format!(
        "{HEAD}\n## undecided: none, and it stays so\n\n## open\n\n{open}\n## refused by name\n\n{refused}\n\
         ## refused because nothing in the table names them\n\n{by_default}"
    );
    check_against_file("coverage.txt", &said);
    Ok(())
}

#[test]
fn every_operation_of_the_table_is_a_route_of_the_api() -> Tested {
    let judge = Judge::built_in()?;
    let known: Vec<(String, String)> =
        inventory().map(|route| (route.method.to_owned(), shape(route.path))).collect();
    for operation in judge.routes.operations() {
        for method in &operation.methods {
            let route = (method.to_string(), shape(operation.path()));
            assert!(known.contains(&route), "{} is no route: {route:?}", operation.name);
        }
    }
    Ok(())
}

#[test]
fn what_is_left_to_default_deny_is_refused_under_every_permission() -> Tested {
    let judge = Judge::built_in()?;
    for named in default_deny().keys() {
        let (method, path) = named.split_once(' ').ok_or("no method")?;
        let methods: &[&str] = match method {
            "ANY" => &["GET", "POST", "PUT", "PATCH", "DELETE"],
            "WS" => &["GET"],
            method => &[method],
        };
        let target = path
            .replace("{rest:path}", &format!("agents/{OWN}/messages"))
            .replace("{agent_id}", OWN)
            .replace("{path:path}", &format!("{OWN}/state.git"))
            .replace("{endpoint:path}", "v1/models")
            .replace('*', "/");
        for method in methods {
            let verdict = judge.judge(judge::everything(), method, &target, "");
            assert_eq!(verdict.code(), "route_not_allowed", "{method} {target}");
        }
    }
    Ok(())
}

#[test]
fn every_route_of_the_second_mount_is_refused() -> Tested {
    let judge = Judge::built_in()?;
    for route in inventory().filter(|route| route.path.starts_with("/v1/")) {
        let method = if matches!(route.method, "HEAD" | "OPTIONS") { "GET" } else { route.method };
        let path = route.path.replace("{agent_id}", OWN).replace(":path}", "}");
        let filled: String = path
            .split('/')
            .map(|s| if s.starts_with('{') { "x" } else { s })
            .collect::<Vec<_>>()
            .join("/");
        let target = filled.replacen("/v1/", "/latest/", 1);
        let verdict = judge.judge(judge::everything(), method, &target, "");
        assert_eq!(verdict.code(), "route_not_allowed", "{method} {target}");
    }
    Ok(())
}

fn inventory() -> impl Iterator<Item = Route<'static>> {
    INVENTORY.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (method, path) = (columns.next()?, columns.next()?);
        let mut sdk: Vec<&str> = columns.skip(1).filter(|name| !name.is_empty()).collect();
        sdk.dedup();
        Some(Route { method, path, sdk })
    })
}

fn default_deny() -> BTreeMap<&'static str, &'static str> {
    DEFAULT_DENY.lines().filter_map(|line| line.split_once('\t')).collect()
}

/// The operation with the route's own method and template, parameter names aside.
fn operation_of<'j>(judge: &'j Judge, route: &Route<'_>) -> Option<&'j Operation> {
    judge.routes.operations().iter().find(|operation| {
        operation.methods.iter().any(|method| method.as_str() == route.method)
            && shape(operation.path()) == shape(route.path)
    })
}

fn shape(path: &str) -> String {
    let segments = path.split('/').map(|s| if s.starts_with('{') { "{}" } else { s });
    segments.collect::<Vec<_>>().join("/")
}
