//! `/openapi.json`: our own APIs described, with schemas out of the types that are read and written.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::activity::Decision;
use crate::answer::{self, ErrorBody};
use crate::console::{LogIn, NewToken, Overview, TokenPage};
use crate::docs::refusals;
use crate::policy::RouteRow;
use crate::token_api::{CreateBody, ListBody, TokenBody};

/// The document, as an answer.
pub(super) fn answer() -> Response<Bytes> {
    answer::json(StatusCode::OK, &document())
}

/// `OpenAPI` 3.1, whose schemas are JSON Schema 2020-12.
fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = Cow::Borrowed("/components/schemas");
        settings.meta_schema = None;
    });
    let mut describer = Describer { generator: settings.into_generator() };
    let mut paths = Map::new();
    describer.token_api(&mut paths);
    describer.decision_api(&mut paths);
    describer.admin_api(&mut paths);
    let mut schemas = describer.generator.take_definitions(true);
    // Every code has a page, and every page is of a code.
    let codes: Vec<&str> = refusals::PAGES.iter().map(|(code, _)| *code).collect();
    if let Some(code) = schemas.get_mut("ErrorBody").and_then(|e| e.pointer_mut("/properties/code"))
    {
        *code = json!({"type": "string", "enum": codes, "description": "Short and stable."});
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ckgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The token API (public or control listener), the decision API (its own \
                listener) and the admin API (admin listener) of this gate. The agents API itself is \
                the upstream's.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "serverKey": {"type": "http", "scheme": "bearer", "description": "`sk-let-…`"},
                "adminCredential": {"type": "http", "scheme": "bearer"},
            },
        },
    })
}

struct Describer {
    generator: SchemaGenerator,
}

/// One operation.
struct Endpoint {
    name: &'static str,
    summary: &'static str,
    tag: &'static str,
    security: &'static str,
    parameters: Vec<Value>,
    body: Option<Schema>,
    answers: Vec<(u16, Option<Schema>)>,
    errors: &'static [u16],
}

impl Describer {
    fn schema<T: JsonSchema>(&mut self) -> Schema {
        self.generator.subschema_for::<T>()
    }

    fn describe(&mut self, endpoint: Endpoint) -> Value {
        let Endpoint { name, summary, tag, security, parameters, body, answers, errors } = endpoint;
        let json_of = |schema: &Schema| json!({"application/json": {"schema": schema}});
        let mut responses = Map::new();
        for (status, schema) in answers {
            let content = schema.as_ref().map(json_of);
            let mut response = json!({"description": summary});
            if let (Some(content), Some(fields)) = (content, response.as_object_mut()) {
                fields.insert("content".to_owned(), content);
            }
            responses.insert(status.to_string(), response);
        }
        let error = self.schema::<ErrorBody<'_>>();
        for status in errors {
            let response = json!({"description": "refused, or failed", "content": json_of(&error)});
            responses.insert(status.to_string(), response);
        }
        let mut described = json!({
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(fields) = described.as_object_mut() {
            if !security.is_empty() {
                fields.insert("security".to_owned(), json!([{security: []}]));
            }
            if let Some(body) = body {
                let body = json!({"required": true, "content": json_of(&body)});
                fields.insert("requestBody".to_owned(), body);
            }
        }
        described
    }

    fn token_api(&mut self, paths: &mut Map<String, Value>) {
        let endpoint = |name, summary| Endpoint {
            name,
            summary,
            tag: "tokens",
            security: "serverKey",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            errors: &[400, 401, 403, 404, 408, 413, 414, 417, 421, 431, 501, 503, 505],
        };
        let (create, created) = (self.schema::<CreateBody>(), self.schema::<TokenBody>());
        let listed = self.schema::<ListBody>();
        let create = self.describe(Endpoint {
            body: Some(create),
            answers: vec![(201, Some(created))],
            ..endpoint("createToken", "A new token")
        });
        let list = self.describe(Endpoint {
            parameters: vec![
                query("agentId", &agent_id()),
                query("limit", &json!({"type": "integer", "minimum": 1, "maximum": 1000})),
                query("offset", &json!({"type": "number", "minimum": 0})),
                query("usage", &json!({"type": "boolean"})),
            ],
            answers: vec![(200, Some(listed))],
            ..endpoint("listTokens", "The account's live tokens, newest first")
        });
        let delete = self.describe(Endpoint {
            parameters: vec![path("token", &json!({"type": "string", "minLength": 1}))],
            answers: vec![(200, Some(empty_object()))],
            ..endpoint("deleteToken", "The token is deleted, and its streams are cut")
        });
        let collection = "/v1/client-side-access-tokens";
        paths.insert(collection.to_owned(), json!({"get": list, "post": create}));
        paths.insert(format!("{collection}/{{token}}"), json!({"delete": delete}));
    }

    fn decision_api(&mut self, paths: &mut Map<String, Value>) {
        let original = ["X-Original-Method", "X-Original-URI", "X-Original-Host"];
        let forwarded = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"];
        for (face, names) in [
            ("nginx", original),
            ("haproxy", original),
            ("caddy", forwarded),
            ("traefik", forwarded),
        ] {
            let mut parameters: Vec<Value> = names.map(header).into();
            // Traefik does not write it: from there it would be the caller's own.
            if face != "traefik" {
                let words = json!({"type": "string", "enum": ["none", "present"]});
                let body = json!({"in": "header", "name": "X-Original-Body", "required": false, "schema": words});
                parameters.push(body);
            }
            let asked = self.decision(face, parameters);
            paths.insert(format!("/{face}"), json!({"get": asked}));
        }
        for face in ["envoy", "envoy-with-body"] {
            let parameters = vec![path("target", &json!({"type": "string", "minLength": 1}))];
            let asked = self.decision(face, parameters);
            paths.insert(format!("/{face}/{{target}}"), json!({"get": asked}));
        }
    }

    /// A question of the decision API. Beside what is said here it carries the caller's own headers.
    fn decision(&mut self, face: &'static str, parameters: Vec<Value>) -> Value {
        let mut asked = self.describe(Endpoint {
            name: face,
            summary: "May the caller's request go on? 200 has the headers to set, `X-Ckgate-Target` \
                      and `X-Ckgate-Drop`; every other answer is the caller's",
            tag: "decisions",
            security: "",
            parameters,
            body: None,
            answers: vec![(200, None), (204, None)],
            errors: &[400, 401, 403, 414, 429, 431, 501, 503],
        });
        if let Some(fields) = asked.as_object_mut() {
            fields.insert("x-peers".to_owned(), json!("only addresses in `decision.peers`"));
        }
        asked
    }

    fn admin_api(&mut self, paths: &mut Map<String, Value>) {
        let (overview, routes, decisions) = (
            self.schema::<Overview>(),
            self.schema::<Vec<RouteRow<'_>>>(),
            self.schema::<Vec<Decision>>(),
        );
        for (name, summary, schema) in [
            ("overview", "The state of the gate", overview),
            ("routes", "The route table", routes),
            ("decisions", "The last decisions, oldest first", decisions),
        ] {
            let asked = of_admin(name, summary);
            let get = self.describe(Endpoint { answers: vec![(200, Some(schema))], ..asked });
            paths.insert(format!("/api/{name}"), json!({"get": get}));
        }
        self.admin_tokens(paths);
        let log_in = self.schema::<LogIn>();
        let open = self.describe(Endpoint {
            body: Some(log_in),
            security: "",
            answers: vec![(204, None)],
            ..of_admin("logIn", "A session, in a cookie; only for the console's own page")
        });
        let close = self.describe(Endpoint {
            answers: vec![(204, None)],
            ..of_admin("logOut", "The session is over")
        });
        paths.insert("/api/session".to_owned(), json!({"post": open, "delete": close}));
        let text = |summary: &str, kind: &str, statuses: &[u16]| {
            let responses: Map<String, Value> = statuses
                .iter()
                .map(|status| {
                    let content = json!({kind: {"schema": {"type": "string"}}});
                    (status.to_string(), json!({"description": summary, "content": content}))
                })
                .collect();
            json!({"get": {"summary": summary, "tags": ["admin"], "responses": responses}})
        };
        let plain = "text/plain";
        paths.insert("/healthz".to_owned(), text("The process answers", plain, &[200]));
        paths.insert("/readyz".to_owned(), text("The gate takes requests", plain, &[200, 503]));
        let metrics = "application/openmetrics-text";
        paths.insert("/metrics".to_owned(), text("Metrics", metrics, &[200]));
    }

    fn admin_tokens(&mut self, paths: &mut Map<String, Value>) {
        let (page, new, created) =
            (self.schema::<TokenPage>(), self.schema::<NewToken>(), self.schema::<TokenBody>());
        let list = self.describe(Endpoint {
            parameters: vec![
                query("agent", &agent_id()),
                query("account", &plain_text()),
                query("hostname", &plain_text()),
                query("before", &token_id()),
                query("limit", &json!({"type": "integer", "minimum": 1, "maximum": 200})),
            ],
            answers: vec![(200, Some(page))],
            ..of_admin("findTokens", "Live tokens of all accounts, without their text")
        });
        let create = self.describe(Endpoint {
            body: Some(new),
            answers: vec![(201, Some(created))],
            ..of_admin("makeToken", "A new token, whose text is in this answer only")
        });
        let delete = self.describe(Endpoint {
            parameters: vec![path("id", &token_id())],
            answers: vec![(200, Some(empty_object()))],
            ..of_admin("deleteTokenById", "The token is deleted, and its streams are cut")
        });
        paths.insert("/api/tokens".to_owned(), json!({"get": list, "post": create}));
        paths.insert("/api/tokens/{id}".to_owned(), json!({"delete": delete}));
    }
}

/// An endpoint of the admin listener, without what is its own.
fn of_admin(name: &'static str, summary: &'static str) -> Endpoint {
    Endpoint {
        name,
        summary,
        tag: "admin",
        security: "adminCredential",
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        errors: &[400, 401, 403, 404, 503],
    }
}

fn empty_object() -> Schema {
    schemars::json_schema!({"type": "object", "additionalProperties": false})
}

/// What a query may say of itself: text without control characters.
fn plain_text() -> Value {
    json!({"type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f\\ufffd]*$", "maxLength": 256})
}

fn token_id() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
}

fn agent_id() -> Value {
    json!({"type": "string", "pattern": "^agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"})
}

fn query(name: &str, schema: &Value) -> Value {
    json!({"in": "query", "name": name, "required": false, "schema": schema})
}

fn path(name: &str, schema: &Value) -> Value {
    json!({"in": "path", "name": name, "required": true, "schema": schema})
}

fn header(name: &str) -> Value {
    json!({"in": "header", "name": name, "required": true, "schema": {"type": "string"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of the document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                let reference = fields.get("$ref").and_then(Value::as_str);
                found.extend(reference.map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_three_apis_are_described() {
        let document = document();
        for path in ["/v1/client-side-access-tokens", "/nginx", "/envoy/{target}", "/api/tokens"] {
            assert!(document.get("paths").is_some_and(|paths| paths.get(path).is_some()), "{path}");
        }
        let required = document.pointer("/components/schemas/CreateBody/required");
        assert_eq!(required, Some(&json!(["policy", "hostname"])));
    }
}
