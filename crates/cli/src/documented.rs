//! Every `eaves …` of the runbooks, the pages and the README is one that this program takes.

use super::Cli;
use clap::Parser as _;
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A command as a page has it.
struct Documented {
    place: String,
    words: Vec<String>,
    /// In a line of prose, where a part of a command may stand for it.
    prose: bool,
}

fn pages() -> Vec<PathBuf> {
    let mut found = vec![Path::new(ROOT).join("README.md")];
    for folder in ["docs", "ops/runbooks"] {
        let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        found.extend(entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    found.sort();
    found
}

/// The commands of a page: in its examples for a shell, and between backticks.
fn commands(path: &Path) -> Vec<Documented> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(ROOT).unwrap_or(path).display().to_string();
    let mut found = Vec::new();
    let (mut shell, mut fenced) = (false, false);
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let place = format!("{name}:{}", at + 1);
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = !fenced;
            shell = fenced && matches!(language, "sh" | "bash" | "console");
        } else if shell {
            let mut whole = line.to_owned();
            while whole.ends_with('\\') {
                whole.pop();
                whole.push_str(lines.next().map_or("", |(_, more)| more));
            }
            for start in starts(&whole) {
                found.push(Documented { place: place.clone(), words: words(&whole[start..]), prose: false });
            }
        } else if !fenced {
            let inline = line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("eaves "));
            found.extend(inline.map(|code| Documented {
                place: place.clone(),
                words: words(code),
                prose: true,
            }));
        }
    }
    found
}

/// Where commands begin in a line.
fn starts(line: &str) -> Vec<usize> {
    let before = |at: usize| line[..at].trim_end();
    let at_start = |at: usize| {
        let before = before(at);
        before.is_empty() || ["|", "$(", "&&", ";", "$"].iter().any(|end| before.ends_with(end))
    };
    let all = line.match_indices("eaves ").map(|(at, _)| at);
    // What follows `#` is a remark, also one with a command in it.
    all.filter(|at| at_start(*at) && !line[..*at].contains("# ")).collect()
}

/// The words of a command as a shell takes them, up to its end. What only a shell knows is `1`.
fn words(text: &str) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            (c, Some(end)) if c == end => quote = None,
            ('$', None | Some('"')) => {
                while rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_').is_some() {}
                word.get_or_insert_default().push('1');
            }
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('<', None) if rest.peek().is_some_and(char::is_ascii_alphabetic) => {
                while rest.next_if(|c| *c != '>').is_some() {}
                rest.next();
                word.get_or_insert_default().push('1');
            }
            ('|' | ')' | ';' | '&' | '<' | '>', None) => break,
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => found.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

#[test]
fn every_documented_command_is_taken() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for command in pages().iter().flat_map(|page| commands(page)) {
        count += 1;
        // What one process calls another by is taken before the rest is looked at.
        if command.words.get(2).is_some_and(|word| word == "compile-worker") {
            continue;
        }
        let part = command.prose || command.words.iter().any(|word| word.contains('…'));
        let words = command.words.iter().filter(|word| !word.contains('…'));
        let Err(error) = Cli::try_parse_from(words) else { continue };
        let fine = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            // An option that is named without a value.
            | ErrorKind::InvalidValue
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => part,
            _ => false,
        };
        if !fine {
            wrong.push(format!("{}: {}\n{error}", command.place, command.words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} commands were found: are the pages read as they are written?");
}

#[test]
fn words_are_those_of_a_shell() {
    let line = r#"x=$(eaves send --tenant "$T" 'a b' <id> | jq .a) # eaves nothing"#;
    assert_eq!(starts(line), [4]);
    assert_eq!(words(&line[4..]), ["eaves", "send", "--tenant", "1", "a b", "1"]);
}
