use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory of which no more than there is can be claimed.
///
/// The files of traced programs may claim to have symbols without end, and there may be hundreds of them.
#[derive(Debug)]
pub struct Room {
    left: AtomicU64,
}

/// A part of it, until dropped.
#[derive(Debug)]
pub struct Claim {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub fn of(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    /// None: there is not twice as much left. Nobody gets all of it, and so leaves none for others.
    pub fn claim(self: &Arc<Self>, bytes: u64) -> Option<Claim> {
        let less = |left: u64| (bytes <= left / 2).then(|| left - bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Claim { room: Arc::clone(self), bytes })
    }
}

impl Claim {
    /// Gives back what is not needed.
    pub fn shrink_to(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.room.left.fetch_add(rest, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_claimed_than_there_is() {
        let room = Room::of(100);
        assert!(room.claim(51).is_none());
        let mut first = room.claim(50).unwrap();
        assert!(room.claim(26).is_none());
        first.shrink_to(10);
        first.shrink_to(20);
        let second = room.claim(45).unwrap();
        assert!(room.claim(23).is_none());
        drop((first, second));
        assert!(room.claim(50).is_some());
    }
}
