//! A proxy with a token map, in pingora: `pingora-peer PORT UPSTREAM_PORT TOKEN`.

use std::collections::HashSet;
use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Known {
    credentials: HashSet<Vec<u8>>,
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Known {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        let credential = session.req_header().headers.get("authorization");
        let known = credential.is_some_and(|value| self.credentials.contains(value.as_bytes()));
        if !known {
            session.respond_error(401).await?;
        }
        Ok(!known)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, upstream, token] = arguments.as_slice() else {
        return Err("pingora-peer PORT UPSTREAM_PORT TOKEN".into());
    };
    let mut server =
        Server::new_with_opt_and_conf(None, ServerConf { threads: 1, ..ServerConf::default() });
    server.bootstrap();
    let known = Known {
        credentials: HashSet::from([format!("Bearer {token}").into_bytes()]),
        upstream: SocketAddr::from(([127, 0, 0, 1], upstream.parse()?)),
    };
    let mut service = http_proxy_service(&server.configuration, known);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever();
}
