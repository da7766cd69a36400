//! A map of bounded size.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// A map of bounded size that removes the least recently used entries.
///
/// Records name an unlimited number of tasks, sockets and address spaces, often without an event at their end. Such a map
/// holds what is known about them.
///
/// Entries that are added or used are in the young generation. When it is full, it becomes the old one, and the entries that
/// are still in the old one are removed. So the `generation` most recently used entries are always kept, and never more than
/// twice as many.
#[derive(Debug, Clone)]
pub struct RecentMap<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash, V> RecentMap<K, V> {
    /// An empty map whose generations have this size.
    pub fn new(generation: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: generation.max(1) }
    }

    /// Makes room for one entry if the map is full. Returns the entries removed for it.
    pub fn make_room(&mut self) -> HashMap<K, V> {
        match self.young.len() < self.generation {
            true => HashMap::new(),
            false => mem::replace(&mut self.old, mem::take(&mut self.young)),
        }
    }

    /// Sets the value of a key. Returns its previous value.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(known) = self.young.get_mut(&key) {
            return Some(mem::replace(known, value));
        }
        let before = self.old.remove(&key);
        drop(self.make_room());
        self.young.insert(key, value);
        before
    }

    /// The value of a key, which is marked as used.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V>
    where
        K: Copy,
    {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key)?;
            drop(self.make_room());
            self.young.insert(*key, value);
        }
        self.young.get_mut(key)
    }

    /// The value of a key, which is not marked as used.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Removes a key, and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Removes all entries.
    pub fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        mem::take(&mut self.young).into_iter().chain(mem::take(&mut self.old))
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        drop(self.drain());
    }

    /// Removes the entries for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_bounded() {
        let mut map = RecentMap::new(100);
        for key in 0..10_000 {
            map.insert(key, key);
            assert!(map.len() <= 200);
        }
    }

    #[test]
    fn recently_used_entries_are_kept() {
        let mut map = RecentMap::new(100);
        map.insert(-1, "used");
        for key in 0..10_000 {
            map.insert(key, "new");
            if key % 50 == 0 {
                assert_eq!(map.get_mut(&-1), Some(&mut "used"));
            }
        }
        assert_eq!(map.get(&9_900), Some(&"new"));
        assert_eq!(map.get(&0), None);
    }

    #[test]
    fn keys_are_unique_across_generations() {
        let mut map = RecentMap::new(1);
        assert_eq!(map.insert('a', 1), None);
        assert_eq!(map.insert('b', 2), None);
        assert_eq!(map.insert('a', 3), Some(1));
        assert_eq!(map.remove(&'a'), Some(3));
        assert_eq!(map.get(&'a'), None);
        assert_eq!(map.drain().collect::<Vec<_>>(), [('b', 2)]);
        assert!(map.is_empty());
    }

    #[test]
    fn make_room_returns_removed_entries() {
        let mut map = RecentMap::new(2);
        for key in 0..4 {
            map.insert(key, ());
        }
        let mut forgotten: Vec<i32> = map.make_room().into_keys().collect();
        forgotten.sort_unstable();
        assert_eq!(forgotten, [0, 1]);
        assert_eq!(map.len(), 2);
    }
}
