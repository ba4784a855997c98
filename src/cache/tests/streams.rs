use std::sync::Arc;

use tokio::sync::oneshot::error::TryRecvError;

use super::super::{Cut, OpenStreams, TooManyStreams};
use super::{id, stream_of};

fn streams() -> Arc<OpenStreams> {
    Arc::new(OpenStreams::new())
}

/// Attack C-02.
#[test]
fn deletion_cuts_every_stream_of_its_token_and_no_other() {
    let streams = streams();
    let (_first, mut first_cut) = streams.open(stream_of(1, 2)).unwrap();
    let (_second, mut second_cut) = streams.open(stream_of(1, 2)).unwrap();
    let (_other, mut other_cut) = streams.open(stream_of(2, 2)).unwrap();
    streams.cut(id(1), Cut::TokenRevoked);
    assert_eq!(first_cut.try_recv(), Ok(Cut::TokenRevoked));
    assert_eq!(second_cut.try_recv(), Ok(Cut::TokenRevoked));
    assert_eq!(other_cut.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(streams.len(), 1);
}

#[test]
fn shutdown_cuts_every_stream() {
    let streams = streams();
    let open: Vec<_> = (0..5).map(|number| streams.open(stream_of(number, 2)).unwrap()).collect();
    streams.cut_all(Cut::Shutdown);
    for (_lease, mut cut) in open {
        assert_eq!(cut.try_recv(), Ok(Cut::Shutdown));
    }
    assert!(streams.is_empty());
}

/// Attack D-10.
#[test]
fn token_has_only_so_many_streams() {
    let streams = streams();
    let (first, _) = streams.open(stream_of(1, 2)).unwrap();
    let (_second, _) = streams.open(stream_of(1, 2)).unwrap();
    assert_eq!(streams.open(stream_of(1, 2)).unwrap_err(), TooManyStreams { streams_max: 2 });
    assert!(streams.open(stream_of(2, 2)).is_ok(), "another token has its own");
    drop(first);
    assert!(streams.open(stream_of(1, 2)).is_ok(), "a place was given up");
}

#[test]
fn stream_that_has_ended_leaves_nothing_behind() {
    let streams = streams();
    let (first, _) = streams.open(stream_of(1, 2)).unwrap();
    let (second, mut cut) = streams.open(stream_of(1, 2)).unwrap();
    drop(first);
    assert_eq!(streams.len(), 1);
    streams.cut(id(1), Cut::TokenExpired);
    assert_eq!(cut.try_recv(), Ok(Cut::TokenExpired));
    drop(second);
    assert!(streams.is_empty());
    streams.cut(id(1), Cut::TokenRevoked);
}

/// A cut takes the places away; a lease that is dropped later takes nobody else's.
#[test]
fn late_lease_takes_no_newer_streams_place() {
    let streams = streams();
    let (late, _) = streams.open(stream_of(1, 2)).unwrap();
    streams.cut(id(1), Cut::TokenRevoked);
    let (_newer, mut cut) = streams.open(stream_of(1, 2)).unwrap();
    drop(late);
    assert_eq!(streams.len(), 1);
    streams.cut(id(1), Cut::Shutdown);
    assert_eq!(cut.try_recv(), Ok(Cut::Shutdown));
}
