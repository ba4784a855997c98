use http::{Response, StatusCode};

use super::Fields;

/// An answer: its status, its fields and its body.
#[derive(Debug)]
pub struct Reply<B> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: Fields,
    /// Its body.
    pub body: B,
}

impl<B> Reply<B> {
    /// An answer without fields.
    #[must_use]
    pub fn new(status: StatusCode, body: B) -> Self {
        Self { status, fields: Fields::new(), body }
    }

    /// The same with another body.
    #[must_use]
    pub fn map<T>(self, into: impl FnOnce(B) -> T) -> Reply<T> {
        Reply { status: self.status, fields: self.fields, body: into(self.body) }
    }

    /// The answer as the `http` crate keeps it.
    #[must_use]
    pub fn into_response(self) -> Response<B> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields.to_map();
        response
    }
}

impl<B> From<Response<B>> for Reply<B> {
    fn from(response: Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, fields: Fields::from(&parts.headers), body }
    }
}
