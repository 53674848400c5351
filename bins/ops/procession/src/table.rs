//! Aligned columns.

use std::io::{self, Write as _};

use crate::output::{Colour, Output};

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[Cell; N]>,
}

/// One cell. Its text has no control characters in it.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    pub(crate) fn painted(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: crate::text::escape(&text.into()).into_owned(), colour }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text.to_string(), Colour::Plain)
    }
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash(value: Option<impl Into<Cell>>) -> Cell {
    value.map_or_else(|| Cell::painted("-", Colour::Faint), Into::into)
}

impl<const N: usize> Table<N> {
    pub(crate) const fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn write(&self, out: &mut Output) -> io::Result<()> {
        let widths: [usize; N] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].text.chars().count());
            cells.max().unwrap_or(0).max(self.columns[column].0.len())
        });
        let heading = self.columns.map(|(name, _)| Cell::painted(name, Colour::Faint));
        for row in std::iter::once(&heading).chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                let padding = widths[column] - cell.text.chars().count();
                let (before, after) = match self.columns[column].1 {
                    Align::Left if column + 1 == N => (0, 0),
                    Align::Left => (0, padding),
                    Align::Right => (padding, 0),
                };
                let gap = if column == 0 { "" } else { "  " };
                let text = out.paint(cell.colour, &cell.text);
                write!(out, "{gap}{:before$}{text}{:after$}", "", "")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
