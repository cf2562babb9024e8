//! `ginnel search`.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use ginnel_daemon::environment::{Environment, shows_colours};
use http::Method;

use super::knowledge::Asked;
use super::{json, printable};
use crate::api::knowledge::view::{HitView, SearchAnswer, SearchRequest};

/// Characters of a hit that are shown, unless all are asked for.
const SHOWN: usize = 400;

/// `ginnel search`.
#[derive(Debug, Args)]
pub struct Search {
    /// The question; several words need no quotes
    #[arg(required = true)]
    pub query: Vec<String>,
    /// How many hits to show
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    pub limit: usize,
    /// Leave out so many of the best
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub offset: usize,
    /// Look by hybrid, vector or text; by default hybrid if there is a model
    #[arg(long, value_name = "MODE", value_parser = ["auto", "hybrid", "vector", "text"], hide_possible_values = true)]
    pub mode: Option<String>,
    /// Only in this collection; may be given several times
    #[arg(long, short, value_name = "NAME")]
    pub collection: Vec<String>,
    /// Only where the metadata says so, such as author=Jane or year>=2020
    #[arg(long = "where", value_name = "CONDITION")]
    pub conditions: Vec<String>,
    /// Only where the source begins so
    #[arg(long, value_name = "PREFIX")]
    pub source: Option<String>,
    /// Leave out hits with a lower score
    #[arg(long, value_name = "SCORE", value_parser = score, allow_negative_numbers = true)]
    pub minimum_score: Option<f32>,
    /// Show so many passages before and after each hit
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub context: usize,
    /// Show passages whole
    #[arg(long)]
    pub full: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn search(
    search: Search,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let asked = Asked::find(state, environment).await?;
    let request = SearchRequest {
        query: search.query.join(" "),
        mode: search.mode.clone(),
        limit: Some(search.limit),
        offset: search.offset,
        minimum_score: search.minimum_score,
        context: search.context,
        collections: search.collection.clone(),
        conditions: search.conditions.clone(),
        source: search.source.clone(),
        ..SearchRequest::default()
    };
    let answer = asked.ask(Method::POST, "/v1/search", &request).await;
    asked.close().await?;
    let answer: SearchAnswer = answer?;
    if search.json {
        json::pretty(&answer, out)?;
    } else {
        let colours = io::stdout().is_terminal() && shows_colours(environment);
        write_text(&answer, &search, colours, out)?;
    }
    // As grep: scripts can tell whether there was anything.
    Ok(match answer.hits.is_empty() {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

fn write_text(
    answer: &SearchAnswer,
    search: &Search,
    colours: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let bold = match colours {
        true => AnsiColor::Cyan.on_default().bold(),
        false => Style::new(),
    };
    let ranks = search.offset + 1..;
    for (rank, hit) in ranks.zip(&answer.hits) {
        let name = printable::line(&name(hit));
        writeln!(out, "{rank}. {bold}{name}{bold:#}  {:.3}", hit.score)?;
        for text in [&hit.before, &hit.text, &hit.after] {
            if !text.is_empty() {
                write_indented(text, search.full, out)?;
            }
        }
        writeln!(out)?;
    }
    if answer.hits.is_empty() {
        writeln!(out, "Nothing was found")?;
    } else {
        let count = answer.hits.len();
        writeln!(
            out,
            "{count} hits by {} in {:.1} ms",
            answer.mode, answer.took_ms
        )?;
    }
    if let Some(note) = &answer.note {
        printable::note(note, out)?;
    }
    Ok(())
}

/// JSON has no other numbers: the condition would go unheard.
fn score(text: &str) -> Result<f32, String> {
    let score: f32 = text.parse().map_err(|_| "is no number".to_owned())?;
    match score.is_finite() {
        true => Ok(score),
        false => Err("is not finite".to_owned()),
    }
}

/// What a person knows the document by.
fn name(hit: &HitView) -> String {
    let source = hit.source.as_ref().unwrap_or(&hit.document);
    match &hit.title {
        Some(title) if !source.ends_with(title.as_str()) => format!("{source} ({title})"),
        Some(_) | None => source.clone(),
    }
}

fn write_indented(text: &str, full: bool, out: &mut dyn Write) -> io::Result<()> {
    let end = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    let (shown, more) = match end {
        Some(end) if !full => (text.get(..end).unwrap_or(text), " …"),
        Some(_) | None => (text, ""),
    };
    let mut lines = shown
        .trim_end()
        .lines()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    while let Some(line) = lines.next() {
        let end = if lines.peek().is_none() { more } else { "" };
        writeln!(out, "   {}{end}", printable::lines(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_numbers() {
        assert_eq!(score("-0.5"), Ok(-0.5));
        for text in ["", "x", "nan", "inf", "-inf", "1e99"] {
            assert!(score(text).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        let mut out = Vec::new();
        write_indented("a\u{1b}[31mb\n\n\tc\u{7}", false, &mut out).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "   a[31mb\n   \tc\n");
    }

    #[test]
    fn long_passages_are_cut() {
        let mut out = Vec::new();
        write_indented(&"ä".repeat(500), false, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, format!("   {} …\n", "ä".repeat(SHOWN)));
    }
}
