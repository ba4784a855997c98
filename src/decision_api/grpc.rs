//! Envoy's `ext_authz` over gRPC: one unary call, `envoy.service.auth.v3.Authorization/Check`.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::http::{HeaderMap, HeaderName, Request, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::DecisionApi;
use super::envoy::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpRequest,
    HttpResponse, HttpStatus, OkHttpResponse, RpcStatus,
};
use super::face::{ENVOY_TIME, milliseconds};
use super::question::{Told, is_told_between_proxies, part};
use crate::proxy::{
    AskingProxy, Connection, GivenBody, HeadersRemoved, Judgement, Permitted, TargetSent,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Calls at once on one connection.
const CALLS_MAX: u32 = 1024;
/// `HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD`.
const OVERWRITE_OR_ADD: i32 = 2;
/// Room for the head in a message, beside the body.
const HEAD_ROOM: usize = 1 << 20;

/// Answers one peer until it or the gate goes; `api` is asked for at each question.
pub async fn serve(
    api: impl Fn() -> Rc<DecisionApi> + 'static,
    stream: TcpStream,
    peer: SocketAddr,
    mut draining: watch::Receiver<bool>,
) {
    let connection = Rc::new(Connection::new(peer.ip()));
    let service = service_fn(|request| {
        let (api, connection) = (api(), Rc::clone(&connection));
        async move { Ok::<_, Infallible>(answer(api, connection, peer, request).await) }
    });
    let served = http2::Builder::new(LocalTasks)
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let told = Cell::new(false);
    let drained = async {
        let _ = draining.wait_for(|draining| *draining).await;
    };
    tokio::select! {
        // How a peer's connection ended is of no interest.
        _ = served.as_mut() => return,
        () = drained => told.set(true),
    }
    if told.get() {
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

/// Runs what belongs to a connection on the core that accepted it.
#[derive(Clone, Copy)]
struct LocalTasks;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalTasks
where
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

async fn answer(
    api: Rc<DecisionApi>,
    connection: Rc<Connection>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    if !api.admits(peer.ip()) {
        let status = Status::permission_denied("this address is not among `decision.peers`");
        return status.into_http();
    }
    if request.uri().path() != CHECK {
        return Status::unimplemented("the only method is Authorization/Check").into_http();
    }
    let body_max = usize::try_from(api.core.gate.rules.inspected_body.bytes_max);
    let bytes_max = body_max.unwrap_or(usize::MAX).saturating_add(HEAD_ROOM);
    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(bytes_max);
    grpc.unary(Check { api, connection }, request).await
}

/// The one method.
struct Check {
    api: Rc<DecisionApi>,
    connection: Rc<Connection>,
}

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Checking;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Checking {
        let (api, connection) = (Rc::clone(&self.api), Rc::clone(&self.connection));
        Checking(Box::pin(async move {
            let http = request.into_inner().attributes.and_then(|context| context.request?.http);
            let http =
                http.ok_or(Status::invalid_argument("attributes.request.http is missing"))?;
            let question = told(http)?.read(api.head);
            let asking = AskingProxy {
                target: TargetSent::AsReceived,
                removes: HeadersRemoved::AsTold,
                streams: api.streams,
            };
            let judged = api.judge(&connection, &question, asking).await;
            Ok(tonic::Response::new(response(judged)))
        }))
    }
}

/// A call under way.
struct Checking(Pin<Box<dyn Future<Output = Result<tonic::Response<CheckResponse>, Status>>>>);

impl Future for Checking {
    type Output = Result<tonic::Response<CheckResponse>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// What Envoy tells of the request.
fn told(http: HttpRequest) -> Result<Told, Status> {
    let pairs: Vec<(String, Bytes)> = match http.header_map {
        Some(map) => map
            .headers
            .into_iter()
            .map(|header| {
                let raw = header.raw_value;
                (header.key, if raw.is_empty() { header.value.into() } else { raw })
            })
            .collect(),
        None => http.headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
    };
    let value = |wanted: &str| {
        pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let given = if http.raw_body.is_empty() { http.body.into() } else { http.raw_body };
    let body = match value("x-envoy-auth-partial-body").map(|value| &**value) {
        Some(b"false") if !given.is_empty() => GivenBody::Whole(given),
        Some(partial) if partial != b"false" => {
            return Err(Status::invalid_argument(
                "the whole body must be given: raise `max_request_bytes`, do not allow partial \
                 messages",
            ));
        }
        // Without a body given, the header may be the caller's own.
        _ if has_body(value("content-length"), value("transfer-encoding"), http.size) => {
            GivenBody::Withheld
        }
        _ if matches!(&*http.method, "GET" | "HEAD" | "OPTIONS") => GivenBody::Absent,
        _ if value("content-length").is_some_and(|length| **length == *b"0") => GivenBody::Absent,
        _ => GivenBody::Unsaid,
    };
    let headers = pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value));
    let (headers, set_aside) = part(headers, is_told_between_proxies);
    let (method, target, host) = (http.method.into(), http.path.into(), http.host.into());
    Ok(Told { method, target, host, headers, body, set_aside })
}

fn has_body(length: Option<&Bytes>, coding: Option<&Bytes>, size: i64) -> bool {
    coding.is_some() || size > 0 || length.is_some_and(|length| **length != *b"0")
}

fn response(judgement: Judgement) -> CheckResponse {
    match judgement {
        Judgement::Permit(permitted) => {
            let Permitted { set, drop, answer, time, target: _ } = permitted;
            let time = time.map(|time| (ENVOY_TIME, milliseconds(time)));
            let set = set.iter().chain(&time).filter_map(|(name, value)| overwrite(name, value));
            let ok = OkHttpResponse {
                headers: set.collect(),
                headers_to_remove: drop.iter().map(ToString::to_string).collect(),
                response_headers_to_add: overwrites(&answer),
            };
            CheckResponse {
                status: Some(RpcStatus { code: Code::Ok as i32 }),
                http_response: Some(HttpResponse::Ok(ok)),
            }
        }
        Judgement::Answer(answer) => {
            let (parts, body) = answer.into_parts();
            let denied = DeniedHttpResponse {
                status: Some(HttpStatus { code: i32::from(parts.status.as_u16()) }),
                headers: overwrites(&parts.headers),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            CheckResponse {
                status: Some(RpcStatus { code: Code::PermissionDenied as i32 }),
                http_response: Some(HttpResponse::Denied(denied)),
            }
        }
    }
}

fn overwrites(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let connection = ::http::header::CONNECTION;
    let pairs = headers.iter().filter(|(name, _)| **name != connection);
    pairs.filter_map(|(name, value)| overwrite(name, value)).collect()
}

fn overwrite(name: &HeaderName, value: &::http::HeaderValue) -> Option<HeaderValueOption> {
    let header = HeaderValue {
        key: name.as_str().to_owned(),
        value: value.to_str().ok()?.to_owned(),
        raw_value: Bytes::new(),
    };
    Some(HeaderValueOption { header: Some(header), append_action: OVERWRITE_OR_ADD })
}
