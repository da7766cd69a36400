//! Makes a seccomp filter (seccomp(2)) of a list of system calls.
//!
//! When a filter is installed, the kernel runs it for each system call that it knows, to find out which are always
//! allowed. The usual filter, one comparison after the other, took 0.4 ms for that: a quarter of all that listing the
//! hooks takes. This one finds a call by halving the list, and takes a tenth.

use nix::errno::Errno;
use nix::libc::{
    self, BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET,
    BPF_STMT, BPF_W, c_long, sock_filter,
};

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It is made.
    Allow,
    /// It is made if its arguments pass all of these checks.
    If(Vec<Check>),
    /// It fails as on a kernel that does not know it, for which callers have an older call in reserve.
    Unknown,
    /// It fails.
    Refuse,
}

/// That a word of the arguments is one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where the word is, in `struct seccomp_data`.
    offset: u32,
    mask: u32,
    one_of: Vec<u32>,
}

impl Check {
    /// That the lower half of the argument, counted from 0, is one of these: all that there is of an `int`.
    pub fn int(argument: u32, one_of: impl IntoIterator<Item = u32>) -> Self {
        Self { offset: ARGUMENTS + argument * 8, mask: u32::MAX, one_of: one_of.into_iter().collect() }
    }

    /// That, of these flags, the argument has just the `set` ones.
    pub fn flags(argument: u32, of: i32, set: i32) -> Self {
        Self { mask: of.cast_unsigned(), ..Self::int(argument, [set.cast_unsigned()]) }
    }

    /// That the pointer is null.
    pub fn null(argument: u32) -> [Self; 2] {
        let lower = Self::int(argument, [0]);
        [Self { offset: lower.offset + 4, ..lower.clone() }, lower]
    }
}

/// Where things are in `struct seccomp_data` (linux/seccomp.h), on machines that put the lower half first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What the kernel calls this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

/// Consecutive calls with one rule, up to the next stretch.
struct Stretch {
    first: u32,
    rule: Rule,
}

/// A filter with these rules. All other calls, and those in another machine's words, fail with EPERM.
pub fn compile(rules: impl IntoIterator<Item = (c_long, Rule)>) -> Vec<sock_filter> {
    let mut program =
        vec![load(ARCHITECTURE), jump(BPF_JEQ, THIS_ARCHITECTURE, 1, 0), refuse(), load(NUMBER)];
    search(&stretches(rules), &mut program);
    program
}

/// Makes the filter count for this thread, and all that it starts, for ever.
pub fn install(program: &mut [sock_filter]) -> nix::Result<()> {
    let length = program.len().try_into().map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose address and length are those of a living slice.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(result).map(drop)
}

/// All calls, by their numbers. What there is no rule for is refused.
fn stretches(rules: impl IntoIterator<Item = (c_long, Rule)>) -> Vec<Stretch> {
    // System calls have small numbers.
    let mut rules: Vec<(u32, Rule)> = rules.into_iter().map(|(call, rule)| (call as u32, rule)).collect();
    rules.sort_by_key(|(call, _)| *call);
    let mut stretches = vec![Stretch { first: 0, rule: Rule::Refuse }];
    let mut next = 0;
    for (call, rule) in rules {
        if call > next {
            begin(&mut stretches, next, Rule::Refuse);
        }
        begin(&mut stretches, call, rule);
        next = call + 1;
    }
    begin(&mut stretches, next, Rule::Refuse);
    stretches
}

fn begin(stretches: &mut Vec<Stretch>, first: u32, rule: Rule) {
    match stretches.last_mut() {
        Some(last) if last.rule == rule => {}
        // It would have nothing in it.
        Some(last) if last.first == first => last.rule = rule,
        _ => stretches.push(Stretch { first, rule }),
    }
}

/// Decides on the call whose number is loaded.
fn search(stretches: &[Stretch], program: &mut Vec<sock_filter>) {
    let (left, right) = match stretches.split_at(stretches.len() / 2) {
        ([], only) => return only.iter().for_each(|stretch| decide(&stretch.rule, program)),
        halves => halves,
    };
    let branch = program.len();
    program.push(skip(0));
    search(left, program);
    let over = program.len() - branch - 1;
    match u8::try_from(over) {
        Ok(over) => program[branch] = jump(BPF_JGE, right[0].first, over, 0),
        Err(_) => {
            program[branch] = jump(BPF_JGE, right[0].first, 0, 1);
            program.insert(branch + 1, skip(over));
        }
    }
    search(right, program);
}

fn decide(rule: &Rule, program: &mut Vec<sock_filter>) {
    if let Rule::If(checks) = rule {
        checks.iter().for_each(|one| check(one, program));
    }
    program.push(match rule {
        Rule::Allow | Rule::If(_) => answer(libc::SECCOMP_RET_ALLOW),
        Rule::Unknown => answer(error(Errno::ENOSYS)),
        Rule::Refuse => refuse(),
    });
}

/// Falls through to what follows, or refuses the call.
fn check(check: &Check, program: &mut Vec<sock_filter>) {
    program.push(load(check.offset));
    if check.mask != u32::MAX {
        program.push(statement(BPF_ALU | BPF_AND | BPF_K, check.mask));
    }
    // The last value is followed by the refusal, which a value that fits jumps over.
    let jumps = (1..=check.one_of.len() as u8).rev();
    program.extend(check.one_of.iter().zip(jumps).map(|(value, over)| jump(BPF_JEQ, *value, over, 0)));
    program.push(refuse());
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn skip(instructions: usize) -> sock_filter {
    statement(BPF_JMP | BPF_JA, instructions as u32)
}

fn refuse() -> sock_filter {
    answer(error(Errno::EPERM))
}

fn error(errno: Errno) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn answer(answer: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, answer)
}

fn statement(code: u32, value: u32) -> sock_filter {
    // SAFETY: it only puts its arguments together.
    unsafe { BPF_STMT(code as u16, value) }
}

fn jump(comparison: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    // SAFETY: it only puts its arguments together.
    unsafe { BPF_JUMP((BPF_JMP | comparison | BPF_K) as u16, value, then, otherwise) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    /// Runs the program as the kernel would, on a call with these arguments.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let bits = arguments.get(((offset - ARGUMENTS) / 8) as usize).copied().unwrap_or_default();
                (bits >> ((offset % 8) * 8)) as u32
            }
        };
        let (mut at, mut register) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let branch = |holds| usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => register = word(k),
                code if code == BPF_ALU | BPF_AND | BPF_K => register &= k,
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += branch(register == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => at += branch(register >= k),
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn run_here(program: &[sock_filter], number: u32, arguments: &[u64]) -> u32 {
        run(program, THIS_ARCHITECTURE, number, arguments)
    }

    #[test]
    fn calls_in_another_machines_words_are_refused() {
        let program = compile([(1, Rule::Allow)]);
        assert_eq!(run_here(&program, 1, &[]), ALLOWED);
        assert_eq!(run(&program, 0x4000_0003, 1, &[]), error(Errno::EPERM));
        // x86-64 has all its calls once more, from this number on.
        assert_eq!(run_here(&program, 0x4000_0001, &[]), error(Errno::EPERM));
    }

    #[test]
    fn all_checks_must_hold() {
        let [high, low] = Check::null(2);
        let program = compile([(7, Rule::If(vec![Check::int(0, [3, 5]), high, low]))]);
        for (arguments, allowed) in [
            ([3, 9, 0], true),
            ([5, 9, 0], true),
            ([1 << 32 | 5, 9, 0], true),
            ([4, 9, 0], false),
            ([3, 9, 1], false),
            ([3, 9, 1 << 32], false),
        ] {
            assert_eq!(run_here(&program, 7, &arguments) == ALLOWED, allowed, "{arguments:?}");
        }
    }

    #[test]
    fn flags_must_be_just_those() {
        let program = compile([(7, Rule::If(vec![Check::flags(1, 0b110, 0b100)]))]);
        for (flags, allowed) in [(0b100, true), (0b101, true), (0b110, false), (0b010, false), (0, false)] {
            assert_eq!(run_here(&program, 7, &[0, flags]) == ALLOWED, allowed, "{flags:b}");
        }
    }

    proptest! {
        #[test]
        fn each_call_gets_its_own_rule(calls in prop::collection::btree_map(0u32..500, any::<bool>(), 0..300)) {
            let rules = calls.iter().map(|(call, known)| {
                (c_long::from(*call), if *known { Rule::Allow } else { Rule::Unknown })
            });
            let program = compile(rules);
            for call in 0..510 {
                let expected = match calls.get(&call) {
                    Some(true) => ALLOWED,
                    Some(false) => error(Errno::ENOSYS),
                    None => error(Errno::EPERM),
                };
                prop_assert_eq!(run_here(&program, call, &[]), expected);
            }
        }
    }
}
