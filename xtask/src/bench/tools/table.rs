//! Prints rows of figures as a table.

use std::iter;
use std::time::Duration;

use super::samples::Samples;

/// A measurement with its floor and its target.
pub struct Row {
    pub what: String,
    /// The lowest possible figure, or the figure of another tool.
    pub floor: Option<Samples>,
    pub ours: Samples,
    pub unit: Unit,
    pub target: Option<Target>,
}

#[derive(Clone, Copy)]
pub enum Unit {
    Milliseconds,
    Megabytes,
    Percent,
    Events,
    LinesPerSecond,
}

/// The upper or lower limit of a figure.
#[derive(Clone, Copy)]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At most this many times the floor, plus a constant.
    Floor { times: f64, plus: f64 },
    /// At least this.
    AtLeast(f64),
    /// At least this share of the other tool's figure.
    Share(f64),
}

impl Row {
    /// A row of figures.
    pub fn figures(
        what: impl Into<String>,
        floor: Option<Vec<f64>>,
        ours: Vec<f64>,
        unit: Unit,
        target: Target,
    ) -> Self {
        Self {
            what: what.into(),
            floor: floor.map(Samples::new),
            ours: Samples::new(ours),
            unit,
            target: Some(target),
        }
    }

    /// A row of times, with those of the floor in the same turns.
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
        let higher_is_better = self.target.is_some_and(Target::is_least);
        let limit = self.target.and_then(|target| target.limit(floor));
        let (sign, reached): (_, fn(&f64, &f64) -> bool) =
            if higher_is_better { ('≥', f64::ge) } else { ('≤', f64::le) };
        let result = |limit| if reached(&ours, &limit) { "reached" } else { "MISSED" };
        [
            self.what.clone(),
            floor.map(show).unwrap_or_default(),
            show(ours),
            show(if higher_is_better { self.ours.p10() } else { self.ours.p90() }),
            floor
                .filter(|floor| *floor != 0.0)
                .map(|floor| format!("{:.2}", ours / floor))
                .unwrap_or_default(),
            limit.map(|limit| format!("{sign} {}", show(limit))).unwrap_or_default(),
            limit.map(result).unwrap_or_default().into(),
        ]
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::Megabytes => format!("{figure:.2} MB"),
            Self::Percent => format!("{} %", hundredths(figure)),
            Self::Events => format!("{figure:.0}"),
            Self::LinesPerSecond => format!("{:.0} k/s", figure / 1e3),
        }
    }
}

impl Target {
    fn limit(self, floor: Option<f64>) -> Option<f64> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Floor { times, plus } => floor.map(|floor| times * floor + plus),
            Self::AtLeast(least) => Some(least),
            Self::Share(share) => floor.map(|floor| share * floor),
        }
    }

    fn is_least(self) -> bool {
        matches!(self, Self::AtLeast(_) | Self::Share(_))
    }
}

/// Rounded down, so that only a complete share is 100 %.
fn hundredths(percent: f64) -> String {
    format!("{:.2}", (percent * 100.0).floor() / 100.0)
}

/// The table: medians, and in one column the 90th percentile (the 10th where higher is better).
pub fn render(floor: &str, rows: &[Row]) -> String {
    let head = ["", floor, "manager", "9 in 10", "ratio", "target", ""].map(str::to_owned);
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
    fn columns_are_aligned() {
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
             bare    manager    9 in 10  ratio       target
  start  10.00 ms   20.00 ms   20.00 ms   2.00   ≤ 20.00 ms  reached
  500              151.00 ms  151.00 ms         ≤ 150.00 ms   MISSED
";
        assert_eq!(format!("\n{}", render("bare", &rows)), expected);
    }

    #[test]
    fn lower_limits_are_shown_with_their_sign() {
        let rows = [
            Row::figures("all", Some(vec![20.0]), vec![100.0], Unit::Percent, Target::AtLeast(100.0)),
            Row::figures("most", Some(vec![0.0]), vec![99.9999], Unit::Percent, Target::AtLeast(100.0)),
            Row::figures("speed", Some(vec![2e6]), vec![1.8e6], Unit::LinesPerSecond, Target::Share(0.9)),
        ];
        let expected = "
             peer   manager   9 in 10  ratio      target
  all     20.00 %  100.00 %  100.00 %   5.00  ≥ 100.00 %  reached
  most     0.00 %   99.99 %   99.99 %         ≥ 100.00 %   MISSED
  speed  2000 k/s  1800 k/s  1800 k/s   0.90  ≥ 1800 k/s  reached
";
        assert_eq!(format!("\n{}", render("peer", &rows)), expected);
    }
}
