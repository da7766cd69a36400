//! Sets of signals, as strace prints them.

use trace_syscalls::signal_name;

/// The first signal without a name of its own in strace.
const FIRST_REAL_TIME: u32 = 32;

/// The signals of a set: `[INT TERM]`, or `~[KILL STOP]` if most are in it.
pub fn set(bytes: &[u8]) -> String {
    let count = bytes.len().min(8) as u32 * 8;
    let is_in = |signal: &u32| bytes[(signal - 1) as usize / 8] >> ((signal - 1) % 8) & 1 == 1;
    let members = (1..=count).filter(is_in).count() as u32;
    let is_inverted = count > 0 && members >= count * 2 / 3;
    let shown = (1..=count).filter(|signal| is_in(signal) != is_inverted).map(short_name);
    let shown: Vec<String> = shown.collect();
    format!("{}[{}]", if is_inverted { "~" } else { "" }, shown.join(" "))
}

fn short_name(signal: u32) -> String {
    match signal.checked_sub(FIRST_REAL_TIME) {
        Some(0) => "RTMIN".to_owned(),
        Some(number) => format!("RT_{number}"),
        None => signal_name(signal.cast_signed()).trim_start_matches("SIG").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_signals_are_shown_by_the_others() {
        assert_eq!(set(&[0; 8]), "[]");
        assert_eq!(set(&0x2_0000_0200u64.to_le_bytes()), "[USR1 RT_2]");
        assert_eq!(set(&(!0x1_8000_0002u64).to_le_bytes()), "~[INT RTMIN RT_1]");
        assert_eq!(set(&[0xff; 8]), "~[]");
        assert_eq!(set(&[]), "[]");
    }
}
