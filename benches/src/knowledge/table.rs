//! Two figures of each subject, over rounds.

use std::fmt::Write as _;

use crate::report::show;
use crate::samples::Summary;

/// Figures of all subjects, in the order in which they first came.
#[derive(Debug)]
pub(super) struct Figures {
    title: &'static str,
    header: [&'static str; 2],
    rows: Vec<(&'static str, Vec<Row>)>,
}

/// Those of one subject in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row([f64; 2]);

impl Row {
    pub(super) fn new(first: f64, second: f64) -> Self {
        Self([first, second])
    }
}

impl Figures {
    pub(super) fn new(title: &'static str, first: &'static str, second: &'static str) -> Self {
        Self {
            title,
            header: [first, second],
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, subject: &'static str, row: Row) {
        match self.rows.iter_mut().find(|(name, _)| *name == subject) {
            Some((_, rows)) => rows.push(row),
            None => self.rows.push((subject, vec![row])),
        }
    }

    pub(super) fn to_markdown(&self) -> String {
        let [first, second] = self.header;
        let mut text = format!("### {}\n\n| | {first} | {second} |\n|", self.title);
        text.push_str(" --- | --- | --- |\n");
        for (subject, rows) in &self.rows {
            let of = |at: usize| show(Summary::of(rows.iter().map(|row| row.0[at]).collect()));
            let _ = writeln!(text, "| {subject} | {} | {} |", of(0), of(1));
        }
        text
    }
}
