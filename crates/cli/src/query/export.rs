//! Lines and tables that the API makes: page after page, until all is there.

use super::api::Page;
use crate::out;
use anyhow::{Result, ensure};

/// Prints the pages that `ask` gets by each one's cursor, `None` for the first. Where the caller set a limit
/// there is one page, and a word about what it leaves out.
pub(super) async fn pages(
    limited: bool,
    is_table: bool,
    ask: impl AsyncFn(Option<&str>) -> Result<Page>,
) -> Result<()> {
    let mut page = ask(None).await?;
    out::text(&page.text)?;
    let heading = heading(&page.text).to_owned();
    while let Some(cursor) = page.next {
        if limited {
            eprintln!("There is more: raise --limit, or leave it out for all.");
            break;
        }
        page = ask(Some(&cursor)).await?;
        let skip = if is_table { self::heading(&page.text).len() } else { 0 };
        ensure!(
            !is_table || page.text[..skip] == heading,
            "the columns change after this page: name them with --fields, or take --output ndjson"
        );
        out::text(&page.text[skip..])?;
    }
    Ok(())
}

/// A table's first line, with its end.
fn heading(text: &str) -> &str {
    text.split_inclusive("\r\n").next().unwrap_or_default()
}
