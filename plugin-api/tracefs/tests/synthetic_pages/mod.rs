//! Synthetic pages of the ring buffer.
#![allow(dead_code, clippy::unwrap_used)]

use tracefs::ring::Layout;

pub const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";
pub const HEADER_EVENT: &str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n\ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

pub fn layout() -> Layout {
    Layout::parse(HEADER_PAGE, HEADER_EVENT).unwrap()
}

/// A page under construction.
pub struct Builder {
    pub stamp: u64,
    pub data: Vec<u8>,
}

impl Builder {
    pub fn at(stamp: u64) -> Self {
        Self { stamp, data: Vec::new() }
    }

    pub fn word(&mut self, kind: u32, delta: u32) {
        self.data.extend_from_slice(&(kind | delta << 5).to_ne_bytes());
    }

    pub fn record(mut self, delta: u32, data: &[u8]) -> Self {
        assert_eq!(data.len() % 4, 0);
        let words = data.len() as u32 / 4;
        if (1..=28).contains(&words) {
            self.word(words, delta);
        } else {
            self.word(0, delta);
            self.data.extend_from_slice(&(data.len() as u32 + 4).to_ne_bytes());
        }
        self.data.extend_from_slice(data);
        self
    }

    pub fn extend(mut self, delta: u64) -> Self {
        self.word(30, (delta & 0x7ff_ffff) as u32);
        self.data.extend_from_slice(&((delta >> 27) as u32).to_ne_bytes());
        self
    }

    pub fn absolute(mut self, stamp: u64) -> Self {
        self.word(31, (stamp & 0x7ff_ffff) as u32);
        self.data.extend_from_slice(&((stamp >> 27) as u32).to_ne_bytes());
        self
    }

    pub fn discarded(mut self, delta: u32, length: u32) -> Self {
        self.word(29, delta);
        self.data.extend_from_slice(&(length + 4).to_ne_bytes());
        self.data.resize(self.data.len() + length as usize, 0xee);
        self
    }

    pub fn page(self) -> Vec<u8> {
        let commit = self.data.len() as u64;
        self.page_with(commit)
    }

    pub fn page_with(self, commit: u64) -> Vec<u8> {
        let mut page = self.stamp.to_ne_bytes().to_vec();
        page.extend_from_slice(&commit.to_ne_bytes());
        page.extend_from_slice(&self.data);
        page
    }

    /// A page after lost records. The flag is added as in the kernel: `1 << 31`, a negative `int`.
    pub fn page_after_loss(mut self, count: Option<u64>) -> Vec<u8> {
        let mut commit = (self.data.len() as u64).wrapping_add(i64::from(i32::MIN) as u64);
        if let Some(count) = count {
            commit = commit.wrapping_add(1 << 30);
            self.data.extend_from_slice(&count.to_ne_bytes());
        }
        self.page_with(commit)
    }
}
