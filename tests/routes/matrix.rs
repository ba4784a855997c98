use std::fmt::Write as _;

use ckgate::policy::{Operation, Permissions};

use super::check_against_file;
use super::judge::{Judge, OWN, Tested, Verdict, everything};
use super::requests::{Named, request};

const HEAD: &str = "\
# What becomes of each operation (rows) with each set of permissions (columns) for a token of one
# agent: asked for that agent, for another one, and for an id that is malformed.
#
#   P  permitted            .  refused, permission_denied
#   x  refused, route_not_allowed: closed to client tokens, whatever they may do
#   !  refused, parameter_not_allowed
#
# The sixteen columns: r = read_messages, w = write_messages, R = read_agent, W = write_agent
#               -r-r-r-r-r-r-r-r
#               --ww--ww--ww--ww
#               ----RRRR----RRRR
#               --------WWWWWWWW
";

#[test]
fn every_operation_under_every_set_of_permissions_is_as_the_matrix_says() -> Tested {
    let judge = Judge::built_in()?;
    let (mut mixed, mut closed) = (String::new(), String::new());
    for operation in judge.routes.operations() {
        for method in &operation.methods {
            let named = format!("{} {method} {}", operation.name, operation.path());
            let rows = rows(&judge, operation, method.as_str());
            if rows.iter().all(|(_, cells)| cells.bytes().all(|cell| cell == b'x')) {
                writeln!(closed, "{named}")?;
                continue;
            }
            writeln!(mixed, "\n{named}")?;
            for (named, cells) in rows {
                writeln!(mixed, "    {named:<12}{cells}")?;
            }
        }
    }
    let said = format!("{HEAD}{mixed}\n# x in every column and for every agent\n\n{closed}");
    check_against_file("matrix.txt", &said);
    Ok(())
}

#[test]
fn no_set_of_permissions_opens_another_agent() -> Tested {
    let judge = Judge::built_in()?;
    for operation in judge.routes.operations() {
        for named in [Named::Other, Named::Malformed] {
            let (target, body) = request(operation, named);
            for access in (0..16).filter_map(Permissions::from_bits) {
                for method in &operation.methods {
                    let verdict = judge.judge(access, method.as_str(), &target, &body);
                    assert!(!matches!(verdict, Verdict::Permit { .. }), "{target} {verdict:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_smaller_set_of_permissions_opens_nothing_that_a_larger_one_does_not() -> Tested {
    let judge = Judge::built_in()?;
    let permits = |operation: &Operation, access: u8| {
        let (target, body) = request(operation, Named::Own);
        let method = operation.methods.first().map_or("GET", http::Method::as_str);
        let access = Permissions::from_bits(access).unwrap_or_default();
        matches!(judge.judge(access, method, &target, &body), Verdict::Permit { .. })
    };
    for operation in judge.routes.operations() {
        for larger in 0..16 {
            for smaller in (0..16).filter(|smaller| smaller & larger == *smaller) {
                assert!(!permits(operation, smaller) || permits(operation, larger));
            }
        }
    }
    Ok(())
}

/// For each agent that may be named, a cell for each set of permissions.
fn rows(judge: &Judge, operation: &Operation, method: &str) -> [(&'static str, String); 3] {
    let row = |named| {
        let (target, body) = request(operation, named);
        let sets = (0..16).filter_map(Permissions::from_bits);
        sets.map(|access| cell(&judge.judge(access, method, &target, &body))).collect()
    };
    [("own", row(Named::Own)), ("other", row(Named::Other)), ("malformed", row(Named::Malformed))]
}

#[test]
fn every_permit_is_for_the_tokens_agent_and_sends_the_routes_own_form() -> Tested {
    let judge = Judge::built_in()?;
    let mut permits = 0;
    for operation in judge.routes.operations() {
        for named in [Named::Own, Named::Other] {
            let (asked, body) = request(operation, named);
            for method in &operation.methods {
                let verdict = judge.judge(everything(), method.as_str(), &asked, &body);
                if let Verdict::Permit { operation: name, agent, target } = verdict {
                    assert_eq!((&*name, &*agent.to_string()), (&*operation.name, OWN));
                    assert_eq!(target, asked);
                    permits += 1;
                }
            }
        }
    }
    assert_eq!(permits, judge.routes.operations().iter().filter(|o| o.is_open()).count());
    Ok(())
}

fn cell(verdict: &Verdict) -> char {
    match verdict.code() {
        "permit" => 'P',
        "permission_denied" => '.',
        "route_not_allowed" => 'x',
        "parameter_not_allowed" => '!',
        _ => '?',
    }
}
