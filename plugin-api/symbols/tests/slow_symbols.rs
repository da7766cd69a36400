//! Symbols that are made to be slow to demangle. In a process of its own: after some of them, symbols that are nested deep stay as they
//! are.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use trace_symbols::{display_name, spellings};

/// A name that takes hours without a limit ends within this time on a busy machine, and so do thousands of them.
const SOON: Duration = Duration::from_secs(5);

/// Codes of operators, types and expressions (Itanium C++ ABI, "Mangling").
const CODES: &str = "nw|na|dl|da|pl|sr|cv|dt|tl|il|cl|on|so|te|nx|sz|st|at|qu|pp|sP|sZ|gs|L|X|Dp|DT|Dt|M|A_|F|P|C1|N|I|J|S0_|1f|fp|T_|i|E";

#[track_caller]
fn assert_is_soon_spelled(symbol: &str) {
    let began = Instant::now();
    display_name(symbol, 512);
    spellings(symbol, 512);
    assert!(began.elapsed() < SOON, "{symbol}: {:?}", began.elapsed());
}

#[test]
fn symbols_made_to_be_slow_end_soon_and_others_are_still_demangled() {
    let deep = format!("_Z1f{}i{}", "1aI".repeat(9), "E".repeat(9));
    assert!(display_name(&deep, 512).starts_with("f(a<a<a<"), "{}", display_name(&deep, 512));
    let known = [
        ("X", "nw", "1f"),
        ("X", "na", "T_"),
        ("X", "nwdl", "1f"),
        ("", "DtL", "i"),
        ("", "XdlsP", "1f"),
        ("", "plS0_I", "T_"),
        ("", "dlLDT", "1f"),
        ("", "L1fI", "T_"),
        ("X", "dldl", "E"),
    ];
    for (first, code, end) in known {
        for depth in 1..40 {
            assert_is_soon_spelled(&format!("_Z1fI{first}{}{}", code.repeat(depth), end.repeat(4 * depth)));
        }
    }
    let codes = prop::collection::vec(CODES, 1..5).prop_map(|codes| codes.concat());
    let symbols =
        ("_Z1f(I|IX|)", codes, 1_usize..40, "(1f|T_|i|E|Li0E)").prop_map(|(first, code, depth, end)| {
            format!("{first}{}{}", code.repeat(depth), end.repeat(3 * depth))
        });
    let spelled = |symbol: String| -> Result<(), TestCaseError> {
        assert_is_soon_spelled(&symbol);
        Ok(())
    };
    TestRunner::default().run(&symbols, spelled).expect("each ends soon");
    assert_eq!(
        display_name("_ZNSt6vectorIiSaIiEE9push_backEOi", 512),
        "std::vector<int, std::allocator<int> >::push_back(int&&)"
    );
}
