//! HTTP requests as API Gateway events of payload format 2.0, and answers back.
//!
//! After "Create AWS Lambda proxy integrations for HTTP APIs" (API Gateway developer
//! guide). `rawPath` is percent-decoded, as HTTP APIs send it; `rawQueryString` is not.

use super::auth::Authorized;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, USER_AGENT,
};
use http::request::Parts;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What is not in the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where the request came from.
    pub address: SocketAddr,
    /// The port it came to.
    pub port: u16,
    /// The request's id.
    pub request_id: &'a str,
    /// The verified token, on routes that want one.
    pub verdict: Option<Verdict<'a>>,
    /// The route's key: `$default` or `GET /healthz`.
    pub route: &'a str,
}

/// What an authorizer has said of a request that it lets in.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// The JWT authorizer.
    Jwt(&'a Authorized),
    /// A Lambda authorizer: its answer's context, as it is.
    Lambda(&'a Map<String, Value>),
}

/// An event of payload format 2.0, to be written as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: String,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'a str>,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    /// `None` where there is no body to speak of: in an authorizer's event.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
    #[serde(flatten)]
    authorizer: Option<ForAuthorizer<'a>>,
}

/// What only an authorizer's event has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ForAuthorizer<'a> {
    r#type: &'static str,
    route_arn: String,
    identity_source: [&'a str; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorizer<'a>>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: String,
    protocol: &'static str,
    source_ip: IpAddr,
    user_agent: &'a str,
}

/// `scopes` names those a route demands; the routes here demand none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Authorizer<'a> {
    Jwt { claims: &'a BTreeMap<String, String>, scopes: Option<()> },
    Lambda(&'a Map<String, Value>),
}

impl Event<'_> {
    /// The event as the function gets it.
    pub fn to_json(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// The event for a request.
pub fn encode<'a>(request: &'a Parts, body: &'a Bytes, caller: Caller<'a>) -> Event<'a> {
    let (body, encoded) = match body.is_empty() {
        true => (None, false),
        false => {
            let (text, encoded) = body_text(&request.headers, body);
            (Some(text), encoded)
        }
    };
    Event { body, is_base64_encoded: Some(encoded), ..without_body(request, caller) }
}

/// The event for a Lambda authorizer, after "Working with AWS Lambda authorizers for HTTP APIs": the
/// request without its body, and the values of the identity source.
pub fn encode_for_authorizer<'a>(request: &'a Parts, identity: &'a str, caller: Caller<'a>) -> Event<'a> {
    let route_arn = format!(
        "arn:aws:execute-api:us-east-1:{}:eaveslocal/$default/{}{}",
        crate::lambda::ACCOUNT,
        request.method.as_str(),
        request.uri.path()
    );
    let authorizer = Some(ForAuthorizer { r#type: "REQUEST", route_arn, identity_source: [identity] });
    Event { authorizer, ..without_body(request, caller) }
}

fn without_body<'a>(request: &'a Parts, caller: Caller<'a>) -> Event<'a> {
    let path = decode_percent(request.uri.path());
    let query = request.uri.query().unwrap_or_default();
    let text = |name| request.headers.get(name).and_then(|h| h.to_str().ok());
    let host = text(HOST).unwrap_or("localhost");
    let now = jiff::Timestamp::now();
    let request_context = RequestContext {
        account_id: crate::lambda::ACCOUNT,
        api_id: "eaveslocal",
        authorizer: caller.verdict.map(|verdict| match verdict {
            Verdict::Jwt(authorized) => Authorizer::Jwt { claims: &authorized.claims, scopes: None },
            Verdict::Lambda(said) => Authorizer::Lambda(said),
        }),
        domain_name: host,
        domain_prefix: host.split(['.', ':']).next().unwrap_or_default(),
        http: Http {
            method: request.method.as_str(),
            path: path.clone(),
            protocol: "HTTP/1.1",
            source_ip: caller.address.ip(),
            user_agent: text(USER_AGENT).unwrap_or_default(),
        },
        request_id: caller.request_id,
        route_key: caller.route,
        stage: "$default",
        time: now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        time_epoch: now.as_millisecond(),
    };
    Event {
        version: "2.0",
        route_key: caller.route,
        raw_path: path,
        raw_query_string: query,
        cookies: cookies(&request.headers),
        headers: headers(&request.headers, caller),
        query_string_parameters: query_parameters(query),
        request_context,
        body: None,
        is_base64_encoded: None,
        authorizer: None,
    }
}

/// Names in lower case, several of a name joined by commas, cookies left out.
fn headers<'a>(request: &'a HeaderMap, caller: Caller<'_>) -> BTreeMap<&'a str, Cow<'a, str>> {
    let mut headers = BTreeMap::new();
    for name in request.keys().filter(|name| **name != COOKIE) {
        let mut values = request.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
        let mut text = values.next().unwrap_or_default();
        for more in values {
            let text = text.to_mut();
            text.push(',');
            text.push_str(&more);
        }
        headers.insert(name.as_str(), text);
    }
    let source = caller.address.ip().to_string();
    let forwarded = match headers.remove("x-forwarded-for") {
        Some(before) => format!("{before}, {source}"),
        None => source,
    };
    headers.insert("x-forwarded-for", forwarded.into());
    headers.insert("x-forwarded-port", caller.port.to_string().into());
    headers.insert("x-forwarded-proto", "http".into());
    headers
}

fn cookies(request: &HeaderMap) -> Vec<&str> {
    let values = request.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(';')).map(str::trim).filter(|c| !c.is_empty()).collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decode_percent(&text.replace('+', " "));
        let value = plain(value);
        parameters.entry(plain(name)).and_modify(|v| *v = format!("{v},{value}")).or_insert(value);
    }
    parameters
}

/// Text types as they are, all else in base64.
fn body_text<'a>(headers: &HeaderMap, body: &'a Bytes) -> (Cow<'a, str>, bool) {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let textual = kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml", "application/x-ndjson"]
            .contains(&kind.as_str())
        || kind.ends_with("+json");
    if textual
        && !headers.contains_key(CONTENT_ENCODING)
        && let Ok(text) = std::str::from_utf8(body)
    {
        return (text.into(), false);
    }
    (STANDARD.encode(body).into(), true)
}

/// Decodes `%xx`; what is no such sequence stays.
fn decode_percent(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |b: u8| (b as char).to_digit(16);
        let pair = (bytes[at] == b'%').then(|| Some((*bytes.get(at + 1)?, *bytes.get(at + 2)?))).flatten();
        match pair.and_then(|(high, low)| Some(hex(high)? * 16 + hex(low)?)) {
            Some(byte) => {
                decoded.push(byte as u8);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The HTTP answer a function's answer stands for; `None` if it stands for none.
///
/// Without a `statusCode` the whole answer is the body, as JSON, with status 200.
pub fn decode(answer: &[u8]) -> Option<Response<Bytes>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let Some(fields) = answer.as_object().filter(|o| o.contains_key("statusCode")) else {
        let mut response = Response::new(Bytes::from(answer.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Some(response);
    };
    let status = match fields.get("statusCode")? {
        Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok())?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let text = match fields.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return None,
    };
    let encoded = fields.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let body = if encoded { Bytes::from(STANDARD.decode(text).ok()?) } else { Bytes::from(text.to_owned()) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    // Several values of one name come only under `multiValueHeaders`; single ones in both.
    for (name, value) in entries(fields, "multiValueHeaders").chain(entries(fields, "headers")) {
        let name = HeaderName::try_from(name).ok()?;
        let values: Vec<String> = match value {
            Value::Array(list) => list.iter().filter_map(header_text).collect(),
            other => header_text(other).into_iter().collect(),
        };
        if headers.contains_key(&name) {
            continue;
        }
        for value in values {
            headers.append(&name, HeaderValue::try_from(value).ok()?);
        }
    }
    for cookie in
        fields.get("cookies").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    Some(response)
}

fn entries<'a>(fields: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    fields.get(name).and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v))
}

fn header_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use serde_json::json;

    fn event(request: Request<&'static [u8]>, verdict: Option<Verdict<'_>>) -> Value {
        let (parts, body) = request.into_parts();
        let address = "127.0.0.1:5050".parse().unwrap();
        let caller = Caller { address, port: 8080, request_id: "id", verdict, route: "$default" };
        serde_json::from_slice(&encode(&parts, &Bytes::from_static(body), caller).to_json().unwrap()).unwrap()
    }

    #[test]
    fn a_request_becomes_an_event_of_format_2() {
        let request = Request::get("/v1/entities/pump%207?a=1&a=2&q=x%20y+z")
            .header("host", "api.example:8080")
            .header("Accept", "a")
            .header("accept", "b")
            .header("cookie", "one=1; two=2")
            .header("user-agent", "test")
            .body(&b""[..])
            .unwrap();
        let claims = BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]);
        let authorized = Authorized { claims };
        let mut event = event(request, Some(Verdict::Jwt(&authorized)));
        let time = event["requestContext"]["time"].take();
        assert!(time.as_str().unwrap().ends_with(" +0000"), "{time}");
        assert!(event["requestContext"]["timeEpoch"].take().as_u64().unwrap() > 1_700_000_000_000);
        let expected = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/v1/entities/pump 7",
            "rawQueryString": "a=1&a=2&q=x%20y+z",
            "cookies": ["one=1", "two=2"],
            "headers": {
                "host": "api.example:8080",
                "accept": "a,b",
                "user-agent": "test",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "8080",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"a": "1,2", "q": "x y z"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "eaveslocal",
                "domainName": "api.example:8080",
                "domainPrefix": "api",
                "http": {
                    "method": "GET", "path": "/v1/entities/pump 7", "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1", "userAgent": "test",
                },
                "authorizer": {"jwt": {"claims": {"tenant": "acme"}, "scopes": null}},
                "requestId": "id",
                "routeKey": "$default",
                "stage": "$default",
                "time": null,
                "timeEpoch": null,
            },
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_lambda_authorizer_sees_all_but_the_body_and_its_context_is_handed_on() {
        let request = Request::post("/v1/telemetry?a=1").header("authorization", "Bearer a.b.c");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let address = "127.0.0.1:5050".parse().unwrap();
        let caller = Caller { address, port: 8080, request_id: "id", verdict: None, route: "$default" };
        let asked = serde_json::to_value(encode_for_authorizer(&parts, "Bearer a.b.c", caller)).unwrap();
        let read: aws_lambda_events::apigw::ApiGatewayV2CustomAuthorizerV2Request =
            serde_json::from_value(asked.clone()).unwrap();
        assert_eq!(read.identity_source.unwrap(), ["Bearer a.b.c"]);
        assert_eq!((&asked["type"], &asked["version"]), (&json!("REQUEST"), &json!("2.0")));
        assert!(asked.get("body").is_none() && asked.get("isBase64Encoded").is_none(), "{asked}");
        let arn = "arn:aws:execute-api:us-east-1:000000000000:eaveslocal/$default/POST/v1/telemetry";
        assert_eq!(asked["routeArn"], arn);

        let said = json!({"tenant": "acme", "exp": "1"});
        let verdict = Some(Verdict::Lambda(said.as_object().unwrap()));
        let body = Bytes::new();
        let event = serde_json::to_value(encode(&parts, &body, Caller { verdict, ..caller })).unwrap();
        assert_eq!(event["requestContext"]["authorizer"], json!({"lambda": said}));
    }

    #[test]
    fn lambda_http_reads_the_event() {
        let request = Request::post("/v1/telemetry").header("host", "h").body(&b"{}"[..]).unwrap();
        let event = event(request, None).to_string();
        let read: aws_lambda_events::apigw::ApiGatewayV2httpRequest = serde_json::from_str(&event).unwrap();
        assert_eq!(read.raw_path.as_deref(), Some("/v1/telemetry"));
        assert_eq!(read.body.as_deref(), Some("{}"));
    }

    #[test]
    fn bodies_that_are_no_text_travel_in_base64() {
        let send = |kind: &str, encoding: Option<&str>, body: &'static [u8]| {
            let mut request = Request::post("/").header("content-type", kind);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            let event = event(request.body(body).unwrap(), None);
            (event["body"].as_str().unwrap().to_owned(), event["isBase64Encoded"].as_bool().unwrap())
        };
        assert_eq!(send("application/json; charset=utf-8", None, b"{}"), ("{}".into(), false));
        assert_eq!(send("text/csv", None, b"a,b"), ("a,b".into(), false));
        assert_eq!(send("application/octet-stream", None, b"abc"), ("YWJj".into(), true));
        assert_eq!(send("application/json", Some("gzip"), b"abc"), ("YWJj".into(), true));
        assert_eq!(send("application/json", None, b"\xff\xfe"), ("//4=".into(), true));
    }

    #[test]
    fn broken_percent_sequences_stay() {
        for (raw, decoded) in
            [("a%2Fb", "a/b"), ("50%", "50%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%C3%A9", "é")]
        {
            assert_eq!(decode_percent(raw), decoded);
        }
    }

    #[test]
    fn an_answer_becomes_a_response() {
        let answer = json!({
            "statusCode": 404,
            "headers": {"content-type": "application/problem+json", "x-data-lag-seconds": 1},
            "multiValueHeaders": {"link": ["<a>", "<b>"]},
            "cookies": ["a=1", "b=2"],
            "body": "eyJ9",
            "isBase64Encoded": true,
        });
        let response = decode(answer.to_string().as_bytes()).unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["x-data-lag-seconds"], "1");
        assert_eq!(response.headers().get_all("link").iter().count(), 2);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(&response.body()[..], b"{\"}");
    }

    #[test]
    fn an_answer_without_a_status_is_the_body() {
        let response = decode(br#"{"hello":"world"}"#).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(&response.body()[..], br#"{"hello":"world"}"#);
    }

    #[test]
    fn nonsense_is_no_response() {
        for answer in [
            "",
            "{",
            r#"{"statusCode":"many"}"#,
            r#"{"statusCode":99999}"#,
            r#"{"statusCode":200,"body":{}}"#,
        ] {
            assert!(decode(answer.as_bytes()).is_none(), "{answer}");
        }
    }
}
