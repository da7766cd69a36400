//! The names of the kernel's drop and reset reasons. Their numbers change with each version; their names are in the format.

use tracefs_session::Record;

/// A record as the kernel prints it.
pub struct Wording {
    text: String,
}

impl Wording {
    pub fn of(record: &mut Record<'_>) -> Self {
        let mut text = Vec::new();
        record.write_text(&mut text);
        Self { text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// The printed value of a field: `name=VALUE` or `name: VALUE`.
    pub fn of_field(&self, name: &str) -> Option<&str> {
        // The last match: the line begins with a task's name, which may contain anything.
        let values = self.text.rmatch_indices(name).find_map(|(at, _)| {
            let rest = self.text.get(at + name.len()..)?;
            rest.strip_prefix('=').or_else(|| rest.strip_prefix(": "))
        });
        values?.split_ascii_whitespace().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_name_is_not_mistaken_for_a_field() {
        let text = " reason=x-7 [000] ..s1. 1.0: kfree_skb: skbaddr=0 location=tcp_v4_rcv+0x91/0x13f0 reason: NO_SOCKET\n";
        let wording = Wording { text: text.to_owned() };
        assert_eq!(wording.of_field("reason"), Some("NO_SOCKET"));
        assert_eq!(wording.of_field("location"), Some("tcp_v4_rcv+0x91/0x13f0"));
        assert_eq!(wording.of_field("rx_sk"), None);
    }
}
