use super::super::handle::is_event_stream;
use crate::message::Fields;

/// By its essence, whatever its letter case and its parameters: what is one is ended when its token goes.
#[test]
fn stream_of_events_is_told_by_its_media_type() {
    let is_one = |media_type: &str| {
        let mut fields = Fields::new();
        fields.append("content-type", media_type.as_bytes());
        is_event_stream(&fields)
    };
    for one in ["text/event-stream", "Text/Event-Stream; charset=utf-8", "text/event-stream \t;x"] {
        assert!(is_one(one), "{one}");
    }
    for other in [
        "",
        "text/event-strea",
        "text/event-streams",
        "text/event-stream,x",
        "x/x; text/event-stream",
    ] {
        assert!(!is_one(other), "{other}");
    }
    assert!(!is_event_stream(&Fields::new()));
}
