use std::collections::BTreeMap;
use std::ops::Range;

/// Values for ranges of addresses that do not overlap.
#[derive(Debug, Clone)]
pub struct AddressMap<T>(BTreeMap<u64, Part<T>>);

#[derive(Debug, Clone)]
struct Part<T> {
    end: u64,
    value: T,
}

impl<T: Clone> AddressMap<T> {
    /// The value of the range that contains this address.
    pub fn at(&self, address: u64) -> Option<&T> {
        let (_, part) = self.0.range(..=address).next_back()?;
        (address < part.end).then_some(&part.value)
    }

    /// Adds a range. It replaces the parts of others that it overlaps. An empty one is left out.
    pub fn insert(&mut self, range: Range<u64>, value: T) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        // No two of them overlap, so their ends are in order, too.
        let overlapped = self.0.range(..end).rev().take_while(|(_, part)| part.end > start);
        for begin in overlapped.map(|(begin, _)| *begin).collect::<Vec<_>>() {
            let Some(old) = self.0.remove(&begin) else { continue };
            if old.end > end {
                self.0.insert(end, old.clone());
            }
            if begin < start {
                self.0.insert(begin, Part { end: start, ..old });
            }
        }
        self.0.insert(start, Part { end, value });
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for AddressMap<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_range_that_contains_an_address_counts(ranges in prop::collection::vec((0..50_u64, 0..20_u64), 0..20)) {
            let mut map = AddressMap::default();
            for (number, (begin, length)) in ranges.iter().enumerate() {
                map.insert(*begin..begin + length, number);
                prop_assert!(map.len() <= 2 * number + 1);
            }
            for address in 0..80 {
                let contains = |(begin, length): &(u64, u64)| (*begin..begin + length).contains(&address);
                prop_assert_eq!(map.at(address).copied(), ranges.iter().rposition(contains));
            }
        }
    }
}
