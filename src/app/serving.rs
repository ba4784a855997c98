//! What a core serves its clients by, and how it serves each of them.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::assemble::Assembled;
use super::worker::{TokenApiHere, Worker};
use crate::config::Told;
use crate::decision_api::DecisionApi;
use crate::message::names::{HOST, STRICT_TRANSPORT_SECURITY};
use crate::message::{Fields, Head, Reply};
use crate::proxy::{self, Attention, Connection, Core, OwnRequest, ReplyBody, TOKEN_API_PATH};
use crate::server::{
    self, Handshakes, Http2Core, Http2Settings, Incoming, Malformed, Protocol, Secured, Wanted,
};
use crate::socket::Socket;
use crate::tls::{Identities, Identity};
use crate::token_api;
use crate::upstream::Client;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_REAL_IP: &str = "x-real-ip";

/// One configuration at work on one core.
pub(super) struct Serving {
    pub(super) assembled: Arc<Assembled>,
    pub(super) core: Rc<Core>,
    pub(super) decision: Rc<DecisionApi>,
}

/// What is known of a connection before its first request.
#[derive(Clone)]
struct Door {
    client: IpAddr,
    /// Whether a proxy in front that is believed tells in a header of each request who its client is.
    told_by: Option<&'static str>,
    token_api: TokenApiHere,
    /// The certificate that the client was shown.
    identity: Option<Arc<Identity>>,
}

impl Serving {
    /// `None` when there is no randomness for request ids, or the upstream cannot be named; the
    /// configuration has checked that.
    pub(super) fn of(assembled: Arc<Assembled>) -> Option<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).ok()?;
        let gate = Arc::clone(&assembled.gate);
        let client = Client::new(
            Arc::clone(&assembled.upstream),
            assembled.upstream_tls.clone(),
            Arc::clone(&gate.metrics),
        )?;
        let core = Rc::new(Core::new(gate, Rc::new(client), u64::from_ne_bytes(random)));
        let decision = Rc::new(DecisionApi {
            core: Rc::clone(&core),
            peers: assembled.peers.clone(),
            head: assembled.connection.head,
            streams: assembled.decided_streams,
        });
        Some(Self { assembled, core, decision })
    }

    async fn answer(
        &self,
        door: &Door,
        connection: &Rc<Connection>,
        incoming: &mut Incoming,
    ) -> Reply<ReplyBody> {
        if incoming.well_formed.is_ok() {
            incoming.well_formed = door.is_for(&incoming.head);
        }
        if let Some(name) = door.told_by {
            let told = told_client(incoming.head.fields(), name);
            connection.is_for(told.unwrap_or(door.client));
        }
        let own = async |request: OwnRequest<'_>| self.answer_own(request, door.token_api).await;
        let mut answer = proxy::handle(&self.core, connection, incoming, own).await;
        if let (Some(_), Some(value)) = (&door.identity, &self.assembled.strict_transport) {
            answer.fields.set(STRICT_TRANSPORT_SECURITY, value.as_bytes());
        }
        answer
    }

    async fn answer_own(
        &self,
        request: OwnRequest<'_>,
        token_api: TokenApiHere,
    ) -> Option<(&'static str, Reply<bytes::Bytes>)> {
        if token_api == TokenApiHere::IsElsewhere {
            return None;
        }
        let OwnRequest { account, head, body, request_id, now } = request;
        let path_below = head.path().strip_prefix(TOKEN_API_PATH)?;
        let asked = token_api::Asked { account, head, path_below, body, request_id, now };
        let (operation, answer) = self.assembled.token_api.answer(asked).await;
        Some((operation, answer.into()))
    }
}

impl Door {
    fn connection(&self) -> Rc<Connection> {
        Rc::new(Connection::new(self.client).within_tls(self.identity.is_some()))
    }

    /// Whether the certificate that was shown is for the host that is asked for (RFC 9110 §7.4).
    fn is_for(&self, head: &Head) -> Result<(), Malformed> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let host = head.fields().get(HOST);
        // A host that is none is refused by the data path, in its own words.
        let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok()) else {
            return Ok(());
        };
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return Ok(()) };
        let host = authority.host().trim_matches(['[', ']']);
        if identity.is_for(host) { Ok(()) } else { Err(Malformed::Misdirected) }
    }
}

impl Worker {
    /// Serves one connection of the public listener, or of the token API's own, to its end.
    pub(super) async fn serve_client(
        self: &Rc<Self>,
        mut stream: TcpStream,
        client: IpAddr,
        token_api: TokenApiHere,
    ) {
        // Nothing of the core's: it goes with its caches when the configuration does, a connection may stay.
        let assembled = Arc::clone(&self.serving().assembled);
        let mut door = Door { client, told_by: None, token_api, identity: None };
        if assembled.proxies.addresses.contains(&client.to_canonical()) {
            match assembled.proxies.told {
                Told::XForwardedFor => door.told_by = Some(X_FORWARDED_FOR),
                Told::XRealIp => door.told_by = Some(X_REAL_IP),
                Told::ProxyProtocol => {
                    let header = server::read_proxy_header(&mut stream);
                    let read =
                        tokio::time::timeout(assembled.connection.header_timeout, header).await;
                    let Ok(Ok(told)) = read else { return };
                    door.client = told.unwrap_or(client);
                }
            }
        }
        match &assembled.identities {
            None => self.serve_http1(Socket::of(stream), door).await,
            // On the heap: connections in the clear should not be as large as these.
            Some(identities) => {
                Box::pin(self.serve_tls(stream, &assembled.handshakes, identities, door)).await;
            }
        }
    }

    async fn serve_tls(
        self: &Rc<Self>,
        stream: TcpStream,
        handshakes: &Handshakes,
        identities: &Identities,
        door: Door,
    ) {
        let shaken = Box::pin(handshakes.shake(stream, identities)).await;
        if let Some(secured) = shaken {
            Box::pin(self.serve_secured(secured, door)).await;
        }
    }

    async fn serve_secured(self: &Rc<Self>, secured: Secured, door: Door) {
        let Secured { protocol, identity, stream } = secured;
        let door = Door { identity: Some(identity), ..door };
        match protocol {
            Protocol::Http1 => self.serve_http1(stream, door).await,
            Protocol::Http2 => self.serve_http2(stream, door).await,
        }
    }

    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Rc<Self>,
        stream: S,
        door: Door,
    ) {
        let settings = self.serving().assembled.connection;
        let connection = door.connection();
        let service = async |incoming: &mut Incoming| {
            self.serving().answer(&door, &connection, incoming).await
        };
        let watchdog = |cx: &mut Context<'_>| poll_wanted(&connection, cx);
        let (buffers, draining) = (Rc::clone(&self.buffers), self.draining.clone());
        server::serve_connection(stream, settings, buffers, service, draining, watchdog).await;
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Rc<Self>,
        stream: S,
        door: Door,
    ) {
        let assembled = Arc::clone(&self.serving().assembled);
        let settings =
            Http2Settings { connection: assembled.connection, streams_max: assembled.streams_max };
        let core = Http2Core {
            buffers: Rc::clone(&self.buffers),
            metrics: Arc::clone(&assembled.gate.metrics),
            draining: self.draining.clone(),
        };
        let door = Rc::new(door);
        server::serve_http2(stream, settings, core, |mut incoming| {
            let serving = self.serving();
            let (door, connection) = (Rc::clone(&door), door.connection());
            let watched = Rc::clone(&connection);
            let answer = async move { serving.answer(&door, &connection, &mut incoming).await };
            (answer, move |cx: &mut Context<'_>| poll_wanted(&watched, cx))
        })
        .await;
    }
}

/// The client's address in a header that a believed proxy has set: the last one, which is its own word.
fn told_client(fields: &Fields, name: &str) -> Option<IpAddr> {
    let last = std::str::from_utf8(fields.all(name).next_back()?).ok()?;
    let address: IpAddr = last.rsplit(',').next()?.trim().parse().ok()?;
    Some(address.to_canonical())
}

fn poll_wanted(connection: &Connection, cx: &mut Context<'_>) -> Poll<Wanted> {
    connection.poll_attention(cx).map(|attention| match attention {
        Attention::Look => Wanted::Attention,
        Attention::End => Wanted::End,
    })
}
