//! The operation of a request.

/// An operation and its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub name: &'static str,
    pub flags: Vec<&'static str>,
}

/// The letters of operations. One that is a prefix of another comes after it.
pub const OPERATIONS: [(&[u8], &str); 13] = [
    (b"WZ", WRITE_ZEROES),
    (b"W", "WRITE"),
    (b"R", "READ"),
    (b"DE", "SECURE_ERASE"),
    (b"D", "DISCARD"),
    (b"F", FLUSH),
    (b"ZA", "ZONE_APPEND"),
    (b"ZRA", "ZONE_RESET_ALL"),
    (b"ZR", "ZONE_RESET"),
    (b"ZO", "ZONE_OPEN"),
    (b"ZC", "ZONE_CLOSE"),
    (b"ZF", "ZONE_FINISH"),
    (b"N", OTHER),
];

const FLAGS: [(u8, &str); 5] =
    [(b'F', "fua"), (b'A', "ahead"), (b'S', "sync"), (b'M', "meta"), (b'U', "atomic")];

const FLUSH: &str = "FLUSH";
const WRITE_ZEROES: &str = "WRITE_ZEROES";
const OTHER: &str = "OTHER";

impl Operation {
    /// Parses the kernel's letters (`rwbs`, see `blk_fill_rwbs` in `kernel/trace/blktrace.c`) of a request of this size in
    /// bytes.
    pub fn of(letters: &[u8], size: u64) -> Self {
        // `F` is a flush before the operation, and FUA after it.
        let after_preflush = letters.strip_prefix(b"F").filter(|rest| operation(rest).is_some());
        let letters = after_preflush.unwrap_or(letters);
        let (mut name, rest) = operation(letters).unwrap_or((OTHER, letters));
        let mut flags = Vec::new();
        match after_preflush {
            // A flush that a task requests is an empty write.
            Some(_) if size == 0 => name = FLUSH,
            Some(_) => flags.push("preflush"),
            None => {}
        }
        // Before Linux 6.10 the kernel has no letter of its own for it. Of the others without one, none has a size, but
        // ZONE_APPEND on zoned devices.
        if name == OTHER && size > 0 {
            name = WRITE_ZEROES;
        }
        flags.extend(FLAGS.iter().filter(|(letter, _)| rest.contains(letter)).map(|(_, flag)| flag));
        Self { name, flags }
    }

    pub fn is_flush(&self) -> bool {
        self.name == FLUSH
    }
}

/// The operation that the letters begin with, and the remaining letters.
fn operation(letters: &[u8]) -> Option<(&'static str, &[u8])> {
    OPERATIONS.iter().find_map(|(begin, name)| Some((*name, letters.strip_prefix(*begin)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(letters: &str, size: u64) -> String {
        let Operation { name, flags } = Operation::of(letters.as_bytes(), size);
        [name].into_iter().chain(flags).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn letters_are_parsed_as_operation_and_flags() {
        assert_eq!(of("R", 4096), "READ");
        assert_eq!(of("RAM", 4096), "READ ahead meta");
        assert_eq!(of("WS", 4096), "WRITE sync");
        assert_eq!(of("WFSM", 4096), "WRITE fua sync meta");
        assert_eq!(of("DS", 4096), "DISCARD sync");
        assert_eq!(of("DE", 4096), "SECURE_ERASE");
        assert_eq!(of("WZS", 4096), "WRITE_ZEROES sync");
        assert_eq!(of("ZRA", 4096), "ZONE_RESET_ALL");
        assert_eq!(of("N", 0), "OTHER");
        assert_eq!(of("NS", 4096), "WRITE_ZEROES sync");
        assert_eq!(of("", 0), "OTHER");
    }

    #[test]
    fn f_before_the_operation_is_a_flush() {
        assert_eq!(of("FWFS", 4096), "WRITE preflush fua sync");
        assert_eq!(of("FWS", 0), "FLUSH sync");
        assert_eq!(of("FF", 0), "FLUSH");
        assert_eq!(of("F", 0), "FLUSH");
    }
}
