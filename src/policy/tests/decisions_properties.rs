use http::Method;
use proptest::prelude::*;

use super::super::{
    AgentId, BoundHost, CanonicalPath, Grant, Permission, Permissions, PolicyEntry, Query,
};
use super::{A, B, asked, built_in, from_bound_origin, grant, permit};
use crate::policy::Asked;

fn agents() -> impl Strategy<Value = AgentId> {
    prop_oneof![Just(A), Just(B)].prop_map(|id| AgentId::parse(id).unwrap())
}

fn entries() -> impl Strategy<Value = Vec<PolicyEntry>> {
    let access = (0..16_u8).prop_map(|bits| Permissions::from_bits(bits).unwrap());
    let entry = (agents(), access).prop_map(|(agent, access)| PolicyEntry { agent, access });
    proptest::collection::vec(entry, 0..4)
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::GET),
        Just(Method::HEAD),
        Just(Method::POST),
        Just(Method::PUT),
        Just(Method::PATCH),
        Just(Method::DELETE),
        Just(Method::OPTIONS),
    ]
}

/// Targets near the routes there are.
fn targets() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("v1".to_owned()),
        Just("agents".to_owned()),
        Just(A.to_owned()),
        Just(B.to_owned()),
        Just("messages".to_owned()),
        Just("stream".to_owned()),
        Just("cancel".to_owned()),
        Just("latest".to_owned()),
        Just(A.to_uppercase()),
        "[a-z%20-9]{1,6}",
    ];
    let query = prop_oneof![Just(""), Just("?limit=1"), Just("?agent_id=x"), Just("?")];
    let usual = (
        agents(),
        prop_oneof![Just(""), Just("/messages"), Just("/messages/stream"), Just("/messages/")],
    )
        .prop_map(|(agent, below)| format!("/v1/agents/{agent}{below}"));
    let odd =
        proptest::collection::vec(part, 1..7).prop_map(|parts| format!("/{}", parts.join("/")));
    (prop_oneof![usual, odd], query).prop_map(|(path, query)| format!("{path}{query}"))
}

fn with_entries(entries: Vec<PolicyEntry>) -> Grant {
    Grant { entries: entries.into(), ..grant(&[]) }
}

fn is_permitted(grant: &Grant, method: &Method, target: &str) -> Option<bool> {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let asked = Asked {
        method,
        path: CanonicalPath::parse(path).ok()?,
        query: Query::parse(query).ok()?,
        whence: from_bound_origin(),
    };
    Some(permit(built_in(), grant, &asked, b"{}").is_ok())
}

proptest! {
    #[test]
    fn nothing_granted_means_nothing_allowed(method in methods(), target in targets()) {
        let permitted = is_permitted(&with_entries(Vec::new()), &method, &target);
        prop_assert_ne!(permitted, Some(true));
    }

    #[test]
    fn empty_access_allows_nothing(agent in agents(), method in methods(), target in targets()) {
        let entry = PolicyEntry { agent, access: Permissions::NONE };
        let permitted = is_permitted(&with_entries(vec![entry]), &method, &target);
        prop_assert_ne!(permitted, Some(true));
    }

    #[test]
    fn taking_away_a_grant_never_opens_anything(
        entries in entries(), gone in 0_usize..4, lost in 0..4_usize, method in methods(), target in targets(),
    ) {
        let before = is_permitted(&with_entries(entries.clone()), &method, &target);
        let mut fewer = entries.clone();
        if gone < fewer.len() {
            fewer.remove(gone);
        }
        let mut weaker = entries;
        for entry in &mut weaker {
            entry.access = entry.access.iter().filter(|p| *p != Permission::ALL[lost]).collect();
        }
        for after in [fewer, weaker] {
            let after = is_permitted(&with_entries(after), &method, &target);
            prop_assert!(before != Some(false) || after != Some(true));
        }
    }

    #[test]
    fn what_is_permitted_names_a_granted_agent(
        entries in entries(), method in methods(), target in targets(),
    ) {
        let grant = with_entries(entries);
        if is_permitted(&grant, &method, &target) == Some(true) {
            let named = |id| AgentId::parse(id).is_ok_and(|id| grant.entries.iter().any(|e| e.agent == id));
            let names_granted = target.split(['/', '?']).any(named);
            prop_assert!(names_granted, "{}", target);
        }
    }

    #[test]
    fn forwarded_path_is_the_judged_path(method in methods(), target in targets()) {
        let all = grant(&[(A, &Permission::ALL), (B, &Permission::ALL)]);
        let (path, _) = target.split_once('?').unwrap_or((&target, ""));
        if is_permitted(&all, &method, &target) == Some(true) {
            let asked = asked(&method, &target);
            let permit = permit(built_in(), &all, &asked, b"{}").unwrap();
            let sent = permit.target().split('?').next().unwrap();
            prop_assert_eq!(sent.trim_end_matches('/'), path.trim_end_matches('/'));
            prop_assert_eq!(permit.method(), &method);
            let operation = permit.operation().unwrap();
            prop_assert_eq!(sent.ends_with('/'), operation.path().ends_with('/'));
        }
    }

    #[test]
    fn another_host_opens_nothing(entries in entries(), method in methods(), target in targets()) {
        let mut grant = with_entries(entries);
        grant.host = BoundHost::parse("https://other.test").unwrap();
        prop_assert_ne!(is_permitted(&grant, &method, &target), Some(true));
    }
}
