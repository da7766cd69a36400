//! Our text against the kernel's own.
#![allow(clippy::unwrap_used)]

mod ring_support;

use std::collections::BTreeMap;
use std::path::Path;

use ring_support::{Comparison, Instance, TRACEFS, workload};

#[test]
fn syscalls() {
    let Some(instance) = Instance::new() else { return };
    instance.set("events/syscalls/enable", "1");
    let directory = tempfile::tempdir().unwrap();
    workload(directory.path());
    instance.set("tracing_on", "0");
    let kernel = instance.trace();
    let (ours, _) = instance.formatted();
    let comparison = Comparison::of(&kernel, &ours);
    assert!(comparison.different.is_empty(), "{}", comparison.report());
}

#[test]
fn every_system() {
    let mut fired: BTreeMap<String, usize> = BTreeMap::new();
    let mut differ: BTreeMap<String, usize> = BTreeMap::new();
    let mut systems: Vec<_> = std::fs::read_dir(Path::new(TRACEFS).join("events"))
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|s| s != "ftrace" && s != "syscalls")
        .collect();
    systems.sort();
    let directory = tempfile::tempdir().unwrap();
    for group in systems.chunks(12) {
        let Some(instance) = Instance::new() else { return };
        for s in group {
            instance.set(&format!("events/{s}/enable"), "1");
        }
        workload(directory.path());
        instance.set("tracing_on", "0");
        let kernel = instance.trace();
        let (ours, _) = instance.formatted();
        let kernel: Vec<_> = kernel.into_iter().filter(|l| !l.contains("[LOST")).collect();
        let ours: Vec<_> = ours.into_iter().filter(|l| !l.contains("[LOST")).collect();
        let comparison = Comparison::of(&kernel, &ours);
        let mut seen = BTreeMap::<String, usize>::new();
        for (k, o) in &comparison.different {
            let comm = k.get(16..) == o.get(16..);
            let name = if comm { "COMM".to_owned() } else { o.split(": ").nth(1).unwrap_or("?").to_owned() };
            let n = seen.entry(name.clone()).or_default();
            *n += 1;
            if *n <= 2 {
                eprintln!("K {k}\nO {o}");
            }
            *differ.entry(name).or_default() += 1;
        }
        for (e, n) in comparison.same {
            *fired.entry(e).or_default() += n;
        }
        eprintln!("== {group:?} {} {}", kernel.len(), ours.len());
    }
    eprintln!("fired {} {fired:?}", fired.len());
    eprintln!("differ {differ:?}");
}
