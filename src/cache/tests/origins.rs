use std::sync::Arc;
use std::time::Duration;

use super::super::BoundOrigins;
use super::now;
use super::store::FakeStore;
use crate::policy::WebOrigin;

fn origin(text: &str) -> WebOrigin<'_> {
    WebOrigin::parse(text.as_bytes()).unwrap()
}

fn bound_to(hosts: &[&str]) -> (Arc<FakeStore>, Arc<BoundOrigins<FakeStore>>) {
    let store = Arc::new(FakeStore::default());
    for host in hosts {
        store.bind(host);
    }
    (Arc::clone(&store), Arc::new(BoundOrigins::new(store)))
}

/// Attack O-09.
#[tokio::test]
async fn origin_is_bound_when_some_live_token_says_so() {
    for (host, text, bound) in [
        ("https://app.test", "https://app.test", true),
        ("https://app.test", "HTTPS://App.Test:443", true),
        ("https://app.test", "http://app.test", false),
        ("https://app.test", "https://evil.test", false),
        ("app.test", "http://app.test:3000", true),
        ("app.test:3000", "http://app.test:3000", true),
        ("app.test:3000", "http://app.test", false),
    ] {
        let (_, origins) = bound_to(&[host]);
        assert_eq!(origins.is_bound(&origin(text), now()).await.unwrap(), bound, "{text}, {host}");
    }
}

#[tokio::test]
async fn yes_is_remembered_in_every_spelling() {
    let (store, origins) = bound_to(&["https://app.test"]);
    assert!(!origins.was_bound(&origin("https://app.test")));
    assert!(origins.is_bound(&origin("https://app.test"), now()).await.unwrap());
    store.fail(true);
    assert!(origins.is_bound(&origin("https://APP.test:443"), now()).await.unwrap());
    assert!(origins.was_bound(&origin("https://APP.test")));
    assert!(!origins.was_bound(&origin("http://app.test")));
    assert_eq!(store.lookups(), 1);
}

/// Attack C-08.
#[tokio::test]
async fn no_is_never_remembered() {
    let (store, origins) = bound_to(&[]);
    assert!(!origins.is_bound(&origin("https://app.test"), now()).await.unwrap());
    store.bind("https://app.test");
    assert!(origins.is_bound(&origin("https://app.test"), now()).await.unwrap());
}

#[tokio::test]
async fn failing_store_is_neither_yes_nor_no() {
    let (store, origins) = bound_to(&["https://app.test"]);
    store.fail(true);
    assert!(origins.is_bound(&origin("https://app.test"), now()).await.is_err());
    assert!(!origins.was_bound(&origin("https://app.test")));
}

/// Preflights need no token, so a flood of them must not become a flood of look-ups.
#[tokio::test]
async fn only_so_many_preflights_ask_the_store_at_once() {
    let (store, origins) = bound_to(&[]);
    store.hold_back();
    let ask = |number: u64| {
        let origins = Arc::clone(&origins);
        tokio::spawn(async move {
            let text = format!("https://app{number}.test");
            origins.is_bound(&origin(&text), now()).await
        })
    };
    let waiting: Vec<_> = (0..16).map(ask).collect();
    store.asked(16).await;
    assert!(ask(16).await.unwrap().is_err());
    assert_eq!(store.lookups(), 16);
    store.answer(17);
    for asked in waiting {
        assert!(!asked.await.unwrap().unwrap());
    }
    assert!(ask(17).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn yes_is_forgotten_in_time() {
    let (store, origins) = bound_to(&["https://app.test"]);
    assert!(origins.is_bound(&origin("https://app.test"), now()).await.unwrap());
    tokio::time::advance(Duration::from_mins(15) - Duration::from_secs(1)).await;
    assert!(origins.was_bound(&origin("https://app.test")));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!origins.was_bound(&origin("https://app.test")));
    store.fail(true);
    assert!(origins.is_bound(&origin("https://app.test"), now()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_origins_are_remembered_and_old_ones_make_room() {
    let texts: Vec<_> = (0..10_002).map(|number| format!("https://app{number}.test")).collect();
    let hosts: Vec<_> = texts.iter().map(String::as_str).collect();
    let (_, origins) = bound_to(&hosts);
    for text in &texts {
        assert!(origins.is_bound(&origin(text), now()).await.unwrap());
    }
    let known = |text: &str| origins.was_bound(&origin(text));
    assert_eq!((known(&texts[9_999]), known(&texts[10_000])), (true, false));
    tokio::time::advance(Duration::from_mins(15)).await;
    assert!(origins.is_bound(&origin(&texts[10_001]), now()).await.unwrap());
    assert_eq!((known(&texts[9_999]), known(&texts[10_001])), (false, true));
}
