//! X-Ray's trace header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.

use eaves_model::TraceParent;

/// The span that Lambda made for the invocation. `None` if there is no such span, as when
/// nobody traces, or if the header is none.
pub(super) fn parent(header: &str) -> Option<TraceParent> {
    let field =
        |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let (epoch, rest) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let sampled = field("Sampled") == Some("1");
    // Written and read as the other standard's, so that one place knows what is a trace.
    format!("00-{epoch}{rest}-{}-{:02x}", field("Parent")?, u8::from(sampled)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[test]
    fn the_header_of_lambda_names_the_parent() {
        let found = parent(&format!("{HEADER};Lineage=25:3f1a:0")).unwrap();
        assert_eq!(found.to_string(), "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        assert!(!parent(&HEADER.replace("Sampled=1", "Sampled=0")).unwrap().sampled);
        // In another order, as X-Ray allows.
        let turned: Vec<_> = HEADER.rsplit(';').collect();
        assert_eq!(parent(&turned.join(";")), Some(found));
    }

    #[test]
    fn without_a_span_there_is_no_parent() {
        for header in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988;Parent=53995c3f42cd8ad8",
            "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=x",
        ] {
            assert_eq!(parent(header), None, "{header}");
        }
    }
}
