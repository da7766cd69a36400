use std::ops::Range;
use std::sync::Arc;

use super::content::Content;
use super::error::ElfError;
use super::limits::{MAX_NAME, NAME_ALLOWANCE, STRINGS_IN_MEMORY, WINDOW};
use super::table::{length, name_at};
use crate::memory_budget::{MemoryBudget, Reservation};

/// Reads the names of a symbol table one after the other, with a part of its strings in memory.
///
/// Names can overlap, so that all of them together can be many times as long as the strings. So their length together is
/// limited: the names of a real file are hardly longer than its strings.
pub(super) struct Names<'a> {
    content: Content<'a>,
    strings: Range<u64>,
    /// A part of the strings, and where in them it begins.
    part: Vec<u8>,
    begin: u64,
    /// How many bytes of names may still be read.
    allowance: u64,
    is_incomplete: bool,
    _reservation: Reservation,
}

impl<'a> Names<'a> {
    /// # Errors
    ///
    /// The strings are not in the file, or the memory for them is not in the budget.
    pub fn new(
        content: Content<'a>,
        strings: Range<u64>,
        symbols: u64,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ElfError> {
        let total = length(&strings);
        let in_memory = if total <= STRINGS_IN_MEMORY { total } else { WINDOW };
        let _reservation = budget.reserve(in_memory).ok_or(ElfError::TooLarge)?;
        let part = content.read(&(strings.start..strings.start + in_memory), STRINGS_IN_MEMORY)?;
        let allowance = total.saturating_mul(2).saturating_add(symbols.saturating_mul(NAME_ALLOWANCE));
        Ok(Self { content, strings, part, begin: 0, allowance, is_incomplete: false, _reservation })
    }

    /// The name at this place of the strings.
    pub fn at(&mut self, offset: u32) -> Option<&[u8]> {
        let offset = u64::from(offset);
        if self.allowance == 0 {
            self.is_incomplete = true;
            return None;
        }
        if !self.has_name_at(offset) {
            let available = length(&self.strings).saturating_sub(offset).min(WINDOW);
            self.part = self.content.read_up_to(self.strings.start.saturating_add(offset), available);
            self.begin = offset;
        }
        let name = name_at(&self.part, u32::try_from(offset - self.begin).ok()?);
        let is_too_long = name.is_none() && self.part.len() as u64 > offset - self.begin + MAX_NAME as u64;
        self.is_incomplete |= is_too_long;
        let cost = if is_too_long { MAX_NAME } else { name.map_or(0, <[u8]>::len) };
        self.allowance = self.allowance.saturating_sub(cost as u64);
        name
    }

    /// Whether the part in memory has all of the name at this place.
    fn has_name_at(&self, offset: u64) -> bool {
        let end = self.begin + self.part.len() as u64;
        let needed = (offset + MAX_NAME as u64 + 1).min(length(&self.strings));
        (self.begin..=end).contains(&offset) && needed <= end
    }

    /// Whether names were left out.
    pub fn are_incomplete(&self) -> bool {
        self.is_incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(strings: &[u8], symbols: u64) -> Names<'_> {
        let budget = MemoryBudget::new(64 << 20);
        Names::new(strings.into(), 0..strings.len() as u64, symbols, &budget).unwrap()
    }

    #[test]
    fn names_of_a_long_table_are_read_from_any_place() {
        let number = |at: u64| format!("name{at:08}");
        let text: String = (0..1_000_000).map(|at| number(at) + "\0").collect();
        assert!(text.len() as u64 > STRINGS_IN_MEMORY);
        let mut names = names(text.as_bytes(), 1_000_000);
        for at in [0, 1, 999_999, 500_000, 500_001, 3, 999_998] {
            assert_eq!(names.at(at * 13), Some(number(at.into()).as_bytes()));
        }
        assert_eq!(names.at(13_000_000), None);
        assert_eq!(names.at(u32::MAX), None);
        assert!(names.part.len() as u64 <= WINDOW && !names.are_incomplete());
    }

    #[test]
    fn overlapping_names_are_read_up_to_a_limit() {
        let strings = [vec![b'x'; 10_000], vec![0]].concat();
        let mut names = names(&strings, 1000);
        let read = (0..1000).filter_map(|at| names.at(at).map(<[u8]>::len));
        let read: usize = read.sum();
        assert!((84_000..94_000).contains(&read), "{read}");
        assert!(names.are_incomplete());
    }

    #[test]
    fn overlong_names_are_left_out() {
        let strings = [vec![b'x'; MAX_NAME + 1], vec![0]].concat();
        let mut names = names(&strings, 2);
        assert_eq!(names.at(1).map(<[u8]>::len), Some(MAX_NAME));
        assert!(!names.are_incomplete());
        assert_eq!(names.at(0), None);
        assert!(names.are_incomplete());
    }
}
