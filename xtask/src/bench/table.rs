//! Rows of figures, as a person reads them.

use std::iter;
use std::time::Duration;

use super::samples::Samples;

/// Something measured, against its floor and its target.
pub struct Row {
    pub what: String,
    /// What cannot be undercut, or what a peer takes.
    pub floor: Option<Samples>,
    pub ours: Samples,
    pub unit: Unit,
    pub target: Option<Target>,
}

#[derive(Clone, Copy)]
pub enum Unit {
    Milliseconds,
    Megabytes,
}

/// The most that a figure may be.
#[derive(Clone, Copy)]
pub enum Target {
    /// This much.
    AtMost(f64),
    /// So many times the floor, and this much more.
    Floor { times: f64, plus: f64 },
}

impl Row {
    /// A time, against the time that the floor took in the same turns.
    pub fn time(what: &str, floor: Vec<Duration>, ours: Vec<Duration>, target: Target) -> Self {
        Self {
            what: what.to_owned(),
            floor: Some(Samples::times(floor)),
            ours: Samples::times(ours),
            unit: Unit::Milliseconds,
            target: Some(target),
        }
    }

    fn cells(&self) -> [String; 7] {
        let show = |figure| self.unit.show(figure);
        let floor = self.floor.as_ref().map(Samples::median);
        let ours = self.ours.median();
        let limit = self.target.and_then(|target| target.limit(floor));
        [
            self.what.clone(),
            floor.map(show).unwrap_or_default(),
            show(ours),
            show(self.ours.p90()),
            floor.map(|floor| format!("{:.2}", ours / floor)).unwrap_or_default(),
            limit.map(|limit| format!("≤ {}", show(limit))).unwrap_or_default(),
            limit.map(|limit| if ours <= limit { "reached" } else { "MISSED" }).unwrap_or_default().into(),
        ]
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::Megabytes => format!("{figure:.2} MB"),
        }
    }
}

impl Target {
    fn limit(self, floor: Option<f64>) -> Option<f64> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Floor { times, plus } => floor.map(|floor| times * floor + plus),
        }
    }
}

/// The rows under their headings. Medians, but for the column that says otherwise.
pub fn render(floor: &str, rows: &[Row]) -> String {
    let head = ["", floor, "manager", "p90", "ratio", "target", ""].map(str::to_owned);
    let lines: Vec<_> = iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let mut table = String::new();
    for line in &lines {
        let mut text = format!("  {:<1$}", line[0], width(0));
        for (column, cell) in line.iter().enumerate().skip(1) {
            text += &format!("  {cell:>0$}", width(column));
        }
        table += text.trim_end();
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Row, Samples, Target, Unit, render};

    #[test]
    fn a_table() {
        let row = |what: &str, floor: Option<f64>, ours, target| Row {
            what: what.to_owned(),
            floor: floor.map(|floor| Samples::new(vec![floor])),
            ours: Samples::new(vec![ours]),
            unit: Unit::Milliseconds,
            target: Some(target),
        };
        let rows = [
            row("start", Some(10.0), 20.0, Target::Floor { times: 1.5, plus: 5.0 }),
            row("500", None, 151.0, Target::AtMost(150.0)),
        ];
        let expected = "
             bare    manager        p90  ratio       target
  start  10.00 ms   20.00 ms   20.00 ms   2.00   ≤ 20.00 ms  reached
  500              151.00 ms  151.00 ms         ≤ 150.00 ms   MISSED
";
        assert_eq!(format!("\n{}", render("bare", &rows)), expected);
    }
}
