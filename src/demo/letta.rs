//! Two agents on a real Letta server: found by name, made when they are not there.

use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::api_client::{ApiClient, Call};
use super::users::{expect_json, request_line};
use super::{DemoError, DemoUpstream};

const NAMES: [&str; 2] = ["ckgate-demo-ann", "ckgate-demo-ben"];

/// The ids of the demo's two agents.
pub(super) async fn find_or_create_agents(
    upstream: &DemoUpstream,
) -> Result<[String; 2], DemoError> {
    let authority = authority(&upstream.url)?;
    let client = ApiClient::to_authority(&authority, upstream.credential.clone());
    let [ann, ben] = NAMES;
    let model = upstream.model.as_deref();
    Ok([find_or_create(&client, ann, model).await?, find_or_create(&client, ben, model).await?])
}

fn authority(url: &str) -> Result<String, DemoError> {
    let parsed: Option<Uri> = url.parse().ok();
    parsed
        .filter(|uri| uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/"))
        .and_then(|uri| uri.authority().cloned())
        .filter(|authority| !authority.as_str().contains('@'))
        .map(|authority| match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        })
        .ok_or_else(|| DemoError::UpstreamUrl { url: url.to_owned() })
}

async fn find_or_create(
    client: &ApiClient,
    name: &str,
    model: Option<&str>,
) -> Result<String, DemoError> {
    let found =
        expect_json(client, &get(format!("/v1/agents/?name={name}")), StatusCode::OK).await?;
    if let Some(id) = found.get(0).and_then(|agent| agent.get("id")).and_then(Value::as_str) {
        return Ok(id.to_owned());
    }
    let model = match model {
        Some(handle) => handle.to_owned(),
        None => first_handle(client, "/v1/models/").await?,
    };
    let embedding = first_handle(client, "/v1/models/embedding").await?;
    let call = Call {
        method: Method::POST,
        target: "/v1/agents/".to_owned(),
        token: None,
        origin: None,
        body: Some(json!({
            "name": name,
            "model": model,
            "embedding": embedding,
            "tags": ["ckgate-demo"],
            "secrets": {"DEMO_API_KEY": format!("secret-of-{name}")},
            "memory_blocks": [
                {"label": "human", "value": "The human tries ckgate."},
                {"label": "persona", "value": "I answer briefly."},
            ],
        })),
    };
    let made = expect_json(client, &call, StatusCode::OK).await?;
    match made.get("id").and_then(Value::as_str) {
        Some(id) => Ok(id.to_owned()),
        None => Err(nothing_in_it(&call, "no id in it")),
    }
}

/// The first model the server offers through a provider of its own. The `letta/` ones are a service
/// elsewhere on the network, which a self-hosted server may not reach.
async fn first_handle(client: &ApiClient, target: &str) -> Result<String, DemoError> {
    let call = get(target.to_owned());
    let models = expect_json(client, &call, StatusCode::OK).await?;
    let models = models.as_array().map(Vec::as_slice).unwrap_or_default();
    let handles = || models.iter().filter_map(|model| model.get("handle")?.as_str());
    let own = handles().find(|handle| !handle.starts_with("letta/"));
    match own.or_else(|| handles().next()) {
        Some(handle) => Ok(handle.to_owned()),
        None => Err(nothing_in_it(&call, "no model in it")),
    }
}

fn get(target: String) -> Call {
    Call { method: Method::GET, target, token: None, origin: None, body: None }
}

fn nothing_in_it(call: &Call, problem: &str) -> DemoError {
    DemoError::Answer {
        request: request_line(call),
        status: StatusCode::OK.as_u16(),
        answer: problem.to_owned(),
    }
}
