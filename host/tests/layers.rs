//! The modules of the host form layers: each imports only those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders, from the lowest layer. Each may import those before it, and none after it.
const FOLDERS: [&str; 7] = ["arguments", "worker", "plugins", "session", "checks", "command_line", "actions"];

/// For each module at the top, the modules at the top that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn folders_import_only_lower_layers() {
    let imports = imports();
    let present: BTreeSet<String> = folders().collect();
    assert_eq!(present, FOLDERS.map(str::to_owned).into(), "a new folder needs a place among the layers");
    for (layer, folder) in FOLDERS.iter().enumerate() {
        let upwards: Vec<_> =
            FOLDERS[layer + 1..].iter().filter(|above| imports[*folder].contains(**above)).collect();
        assert!(upwards.is_empty(), "{folder} imports {upwards:?}, which are above it");
    }
}

#[test]
fn modules_have_no_import_circle() {
    let mut imports = imports();
    // Takes away, again and again, the modules that import none of those left.
    while let Some(lowest) =
        imports.iter().find(|(_, imported)| imported.is_empty()).map(|(name, _)| name.clone())
    {
        imports.remove(&lowest);
        imports.values_mut().for_each(|imported| _ = imported.remove(&lowest));
    }
    assert!(imports.is_empty(), "these modules import each other in a circle: {imports:?}");
}

#[test]
fn protocol_imports_no_other_folder() {
    for file in rust_files(&source().join("worker/protocol")) {
        let text = fs::read_to_string(&file).unwrap();
        let imported: Vec<_> =
            imported_by(&text).into_iter().filter(|name| FOLDERS.contains(&name.as_str())).collect();
        assert!(imported.is_empty(), "{} imports {imported:?}", file.display());
    }
}

#[test]
fn import_is_found_however_it_is_written() {
    let text = "use crate::a::B;\nuse crate::{c, d::E, f::{G, h}};\nlet x = crate::i::j();\n// crate::k\n";
    assert_eq!(imported_by(text), ["a", "c", "d", "f", "i"].map(str::to_owned).into());
}

fn imports() -> Imports {
    let mut imports = Imports::new();
    for file in rust_files(&source()) {
        let module = top_module(&file);
        let imported = imported_by(&fs::read_to_string(&file).unwrap());
        imports.entry(module).or_default().extend(imported);
    }
    // Nothing imports the root.
    imports.remove("main");
    for (module, imported) in &mut imports {
        imported.remove(module);
    }
    imports
}

/// The names that follow `crate::`, outside of comments.
fn imported_by(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut imported = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => imported.extend(first_names(group)),
            None => imported.extend([name_at(after)]),
        }
    }
    imported
}

/// The names at the top of a group such as `a, b::C, d::{E, f}}`.
fn first_names(group: &str) -> Vec<String> {
    let mut names = vec![name_at(group.trim_start())];
    let mut depth = 0;
    for (place, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name_at(group[place + 1..].trim_start())),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn top_module(file: &Path) -> String {
    let below = file.strip_prefix(source()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn folders() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap())
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
