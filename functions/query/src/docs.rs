//! `GET /docs`: the API on one readable page, made from its description.

use crate::openapi;
use crate::problem::KINDS;
use axum::response::Html;
use std::fmt::Write as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Deprecated, RefOr, Required};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}code{background:#f1f1f1;padding:.1em .3em;border-radius:3px}\
h2{margin-top:2.2rem;font-size:1.15rem}table{border-collapse:collapse;width:100%}\
td{border-top:1px solid #ddd;padding:.35rem .6rem .35rem 0;vertical-align:top}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#2a2a2a}td{border-color:#444}}";

/// The page.
pub(crate) async fn page() -> Html<String> {
    Html(render())
}

fn render() -> String {
    let document = openapi::document();
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Eaves API</title><style>{STYLE}</style>\
         <h1>Eaves API</h1><p>{}</p><p>The complete description is <a href=\"/openapi.json\">openapi.json</a> \
         (OpenAPI 3.1).</p>",
        marked(document.info.description.as_deref().unwrap_or_default())
    );
    for (path, item) in &document.paths.paths {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                write_operation(&mut out, method, path, operation);
            }
        }
    }
    out.push_str("<h1>Problems</h1><p>Errors are problem details (RFC 9457), <code>application/problem+json</code>.</p><table>");
    for (slug, title, text) in KINDS {
        _ = write!(
            out,
            "<tr id=\"{slug}\"><td><code>{slug}</code><td>{}<br>{}",
            escaped(title),
            marked(text)
        );
    }
    out.push_str("</table></html>");
    out
}

fn write_operation(out: &mut String, method: &str, path: &str, operation: &Operation) {
    _ = write!(out, "<h2><code>{method} {}</code></h2>", escaped(path));
    for text in [&operation.summary, &operation.description].into_iter().flatten() {
        _ = write!(out, "<p>{}</p>", marked(text));
    }
    if matches!(operation.deprecated, Some(Deprecated::True)) {
        out.push_str("<p>Deprecated.</p>");
    }
    out.push_str("<table>");
    for parameter in operation.parameters.iter().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let required = if matches!(parameter.required, Required::True) { " (required)" } else { "" };
        let text = parameter.description.as_deref().unwrap_or_default();
        _ = write!(out, "<tr><td><code>{}</code>{required}<td>{}", escaped(&parameter.name), marked(text));
    }
    for (status, answer) in &operation.responses.responses {
        let RefOr::T(answer) = answer else { continue };
        _ = write!(out, "<tr><td>{}<td>{}", escaped(status), marked(&answer.description));
    }
    out.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escapes, and makes `code` of what stands between backticks.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in escaped(text).split('`').enumerate() {
        if i > 0 {
            out.push_str(if i % 2 == 1 { "<code>" } else { "</code>" });
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_address_and_needs_nothing_from_elsewhere() {
        let page = render();
        for path in openapi::document().paths.paths.keys() {
            assert!(page.contains(&escaped(path)), "{path}");
        }
        for foreign in ["http://", "https://", "<script", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
