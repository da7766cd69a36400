mod ring_support;
use ring_support::*;
#[test]
fn p() {
    let mut fired = std::collections::BTreeMap::<String, usize>::new();
    let all = std::fs::read_dir("/sys/kernel/tracing/events")
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|s| s != "ftrace" && s != "syscalls")
        .collect::<Vec<_>>();
    for chunk in all.chunks(6) {
        let i = Instance::new().unwrap();
        i.set("buffer_size_kb", "16000");
        for s in chunk {
            let _ = std::fs::write(i.path.join(format!("events/{s}/enable")), "1");
        }
        let _ = std::process::Command::new("sh").arg("/tmp/wl.sh").status();
        i.set("tracing_on", "0");
        let k: Vec<_> = i.trace().into_iter().filter(|l| !l.contains("[LOST")).collect();
        let (o, _) = i.formatted();
        let o: Vec<_> = o.into_iter().filter(|l| !l.contains("[LOST")).collect();
        let c = Comparison::of(&k, &o);
        for (e, n) in &c.same {
            *fired.entry(e.clone()).or_default() += n;
        }
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for (k, o) in c.different_but_for_names() {
            let name = o.split(": ").nth(1).unwrap_or("?").to_owned();
            let n = seen.entry(name).or_default();
            *n += 1;
            if *n <= 2 {
                eprintln!("K {k}\nO {o}");
            }
        }
    }
    eprintln!("fired {} {:?}", fired.len(), fired.keys());
}
