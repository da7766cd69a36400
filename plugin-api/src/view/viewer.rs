use super::View;
use super::columns::ColumnValues;
use super::evaluation::Evaluation;
use super::time::LineClock;

/// A view, prepared for the lines of a session.
#[derive(Debug)]
pub struct Viewer {
    pub condition: Option<Evaluation>,
    pub columns: Option<ColumnValues>,
    pub clock: LineClock,
    pub color: bool,
    /// The last event was left out, and so are the lines that continue it.
    pub left_out_last: bool,
}

impl Viewer {
    pub fn of(view: &View) -> Self {
        Self {
            condition: view.condition.as_ref().map(Evaluation::of),
            columns: (!view.columns.is_empty()).then(|| ColumnValues::of(&view.columns)),
            clock: LineClock::of(view.time),
            color: view.color,
            left_out_last: false,
        }
    }

    /// Begins an event.
    pub fn begin(&mut self) {
        self.condition.iter_mut().for_each(Evaluation::begin);
        self.columns.iter_mut().for_each(ColumnValues::begin);
    }
}
