//! Which files are traced if more functions match than may be traced: no process uses up the limit for others.

use std::cmp::Reverse;
use std::collections::HashMap;

use trace_tasks::Pid;

/// What a file needs of the limit.
#[derive(Debug)]
pub struct Demand<'a> {
    pub functions: usize,
    /// The processes that have mapped the file.
    pub processes: &'a [Pid],
}

/// The files that are traced, as places in the list.
///
/// In each turn, a process has one of its files traced, those with the fewest functions first. A file is traced as a whole, or not at all.
pub fn within_limit(files: &[Demand<'_>], limit: usize) -> Vec<usize> {
    let turns = turns(files);
    let mut places: Vec<usize> = (0..files.len()).collect();
    places.sort_by_key(|&place| (turns[place], files[place].functions));
    let mut left = limit;
    places.retain(|&place| match left.checked_sub(files[place].functions) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    places
}

/// Whether these are the files of one process.
pub fn are_of_one_process(files: &[Demand<'_>]) -> bool {
    let mut processes = files.iter().flat_map(|file| file.processes);
    processes.next().is_none_or(|first| processes.all(|process| process == first))
}

/// For each file, how many smaller ones there are of the same process, at least.
fn turns(files: &[Demand<'_>]) -> Vec<usize> {
    let mut smallest_last: Vec<usize> = (0..files.len()).collect();
    smallest_last.sort_by_key(|&place| Reverse(files[place].functions));
    let mut of_processes: HashMap<Pid, usize> = HashMap::new();
    let mut turns = vec![0; files.len()];
    while let Some(place) = smallest_last.pop() {
        let processes = files[place].processes;
        let passed = |process: &Pid| of_processes.get(process).copied().unwrap_or_default();
        turns[place] = processes.iter().map(passed).min().unwrap_or_default();
        processes.iter().for_each(|process| *of_processes.entry(*process).or_default() += 1);
    }
    turns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn traced(files: &[(usize, &[Pid])], limit: usize) -> Vec<usize> {
        let demands = files.iter().map(|&(functions, processes)| Demand { functions, processes });
        let mut traced = within_limit(&demands.collect::<Vec<_>>(), limit);
        traced.sort_unstable();
        traced
    }

    #[test]
    fn a_file_with_many_functions_is_left_out_before_others() {
        assert_eq!(traced(&[(900, &[1]), (5, &[2]), (200, &[3])], 1000), [1, 2]);
        assert_eq!(traced(&[(2000, &[1]), (5, &[2])], 1000), [1]);
        assert_eq!(traced(&[(2000, &[1])], 1000), [0; 0]);
    }

    #[test]
    fn a_process_with_many_files_does_not_use_up_the_limit() {
        let many: [(usize, &[Pid]); 30] = [(1, &[1]); 30];
        let files = [many.as_slice(), &[(4, &[2]), (4, &[2])]].concat();
        let traced = traced(&files, 20);
        assert!(traced.ends_with(&[30, 31]) && traced.len() == 14, "{traced:?}");
    }

    #[test]
    fn a_file_of_several_processes_has_the_turn_of_the_one_with_the_fewest() {
        assert_eq!(traced(&[(1, &[1]), (2, &[1]), (3, &[1, 2]), (3, &[1])], 7), [0, 1, 2]);
    }

    #[test]
    fn files_of_one_process_are_recognized() {
        let of_one = |files: &[&[Pid]]| {
            are_of_one_process(
                &files.iter().map(|processes| Demand { functions: 1, processes }).collect::<Vec<_>>(),
            )
        };
        assert!(of_one(&[]) && of_one(&[&[1], &[1]]));
        assert!(!of_one(&[&[1], &[1, 2]]));
    }

    proptest! {
        #[test]
        fn the_limit_holds(files in prop::collection::vec((1_usize..50, prop::collection::vec(1_u32..5, 1..3)), 0..20), limit in 0_usize..200) {
            let demands: Vec<_> = files.iter().map(|(functions, processes)| Demand { functions: *functions, processes }).collect();
            let traced = within_limit(&demands, limit);
            prop_assert!(traced.iter().map(|place| demands[*place].functions).sum::<usize>() <= limit);
        }
    }
}
