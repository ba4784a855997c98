use std::error::Error;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, Uri};

use crate::cli::arguments::Explain;
use crate::policy::{Asked, Authority, CanonicalPath, OriginHeader, Query, WebOrigin, Whence};

/// A request as it was given on the command line.
pub(super) struct Request {
    method: Method,
    target: String,
    uri: Uri,
    headers: HeaderMap,
}

/// `Host`, when none is given: it matters only to requests without an `Origin`.
const HOST_STAND_IN: HeaderValue = HeaderValue::from_static("gate.invalid");

impl Request {
    /// Reads the request; a target or header that HTTP cannot carry is an error of the command.
    pub(super) fn read(options: &Explain) -> Result<Self, Box<dyn Error>> {
        let method = options.method.as_deref().unwrap_or_default();
        let target = options.target.clone().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in &options.header {
            let (name, value) = line.split_once(':').ok_or("a header is written `NAME: VALUE`")?;
            headers.append(name.trim().parse::<HeaderName>()?, value.trim().parse()?);
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HOST_STAND_IN);
        }
        Ok(Self {
            method: method.parse().map_err(|_| format!("`{method}` is not a method"))?,
            uri: target.parse().map_err(|_| format!("`{target}` is not a request target"))?,
            target,
            headers,
        })
    }

    /// The target as it was given.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The facts that the policy looks at; what is wrong with the head otherwise.
    pub(super) fn asked(&self) -> Result<Asked<'_>, String> {
        if self.target.contains('#') {
            return Err("a request target has no fragment".to_owned());
        }
        if self.uri.scheme().is_some() || self.uri.authority().is_some() {
            return Err("the request target must be an absolute path".to_owned());
        }
        let path = CanonicalPath::parse(self.uri.path()).map_err(|e| e.to_string())?;
        let query = Query::parse(self.uri.query()).map_err(|e| e.to_string())?;
        let host = self.only(&HOST)?.and_then(|host| Authority::parse(host.as_bytes()));
        let host = host.ok_or("the Host header must be a host name or address")?;
        let origin = match self.only(&ORIGIN) {
            Ok(None) => OriginHeader::Absent,
            Ok(Some(origin)) => {
                WebOrigin::parse(origin.as_bytes()).map_or(OriginHeader::Opaque, OriginHeader::Web)
            }
            Err(_) => OriginHeader::Opaque,
        };
        let from_browser = self.headers.contains_key("sec-fetch-site");
        let whence = Whence { origin, host, from_browser };
        Ok(Asked { method: &self.method, path, query, whence })
    }

    fn only(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, String> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(format!("there is more than one {name} header")),
        }
    }
}
