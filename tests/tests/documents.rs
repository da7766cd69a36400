//! What the documents refer to exists: linked files and headings, files of the source, tests, and environment variables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use system_tests::{Manager, Plugins};

/// Folders at the top of the repository. A path in backticks that begins with one of them names a file or folder.
const FOLDERS: [&str; 7] = ["docs/", "host/", "packaging/", "plugin-api/", "plugins/", "tests/", "xtask/"];
/// Parts of a path that are placeholders.
const PLACEHOLDERS: [char; 3] = ['*', '…', '<'];

struct Document {
    path: PathBuf,
    text: String,
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in document.links() {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { document.path.clone() } else { document.folder().join(file) };
            let found = match fs::read_to_string(&target) {
                Ok(text) => heading.is_empty() || anchors(&text).contains(heading),
                Err(_) => target.is_dir(),
            };
            if !found {
                broken.push(format!("{}: {link}", document.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_source_file_that_a_document_names_exists() {
    let missing: Vec<_> = documents()
        .iter()
        .flat_map(|document| document.code().map(move |code| (document, code)))
        .filter(|(_, code)| FOLDERS.iter().any(|folder| code.starts_with(folder)))
        .filter(|(_, code)| !code.contains(PLACEHOLDERS) && !code.contains(' '))
        .filter(|(_, code)| !root().join(code).exists())
        .map(|(document, code)| format!("{}: {code}", document.path.display()))
        .collect();
    assert!(missing.is_empty(), "these files do not exist:\n{}", missing.join("\n"));
}

#[test]
fn every_test_that_the_list_of_faults_names_exists() {
    let faults = document("docs/faults.md");
    let rows = faults.text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let named: Vec<&str> = rows.filter_map(|row| row.rsplit('|').nth(1)).flat_map(code).collect();
    let (files, tests) = files_and_tests();
    let missing: Vec<_> =
        named.iter().filter(|name| !files.contains(**name) && !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "these tests do not exist: {missing:#?}");
    assert!(named.len() > 30, "the table of docs/faults.md was not read: {named:?}");
}

#[test]
fn the_help_names_every_variable_of_the_guide_for_operators() {
    let operators = document("docs/operators.md");
    let rows = operators.text.lines().filter(|line| line.starts_with("| `TRACER_"));
    let variables: Vec<&str> = rows.filter_map(|row| code(row).next()).collect();
    let help = Manager::with(Plugins::none()).bare_call().word("--help").answer();
    let missing: Vec<_> = variables.iter().filter(|name| !help.succeeded().contains(**name)).collect();
    assert!(missing.is_empty(), "the help does not name {missing:?}");
    assert!(variables.len() > 5, "the table of docs/operators.md was not read: {variables:?}");
}

impl Document {
    fn folder(&self) -> &Path {
        self.path.parent().expect("a file is in a folder")
    }

    /// The targets of links to other files of the repository. What stands in backticks is no link.
    fn links(&self) -> Vec<String> {
        let text: String =
            prose(&self.text).map(|line| line.split('`').step_by(2).collect::<String>() + "\n").collect();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
    }

    /// What stands in backticks within a line.
    fn code(&self) -> impl Iterator<Item = &str> {
        prose(&self.text).flat_map(code)
    }
}

fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// The names by which the headings of a document can be linked to, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The names of the files in `tests/tests`, and of the functions in them.
fn files_and_tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut files, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for path in files_in(&root().join("tests/tests"), "rs") {
        let stem = path.file_stem().expect("a source file has a name");
        files.insert(stem.to_string_lossy().into_owned());
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
        tests.extend(names.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
    }
    (files, tests)
}

fn documents() -> Vec<Document> {
    let folders = [root(), root().join("docs")];
    let paths = folders.iter().flat_map(|folder| files_in(folder, "md"));
    paths
        .map(|path| Document { text: fs::read_to_string(&path).expect("a document is UTF-8"), path })
        .collect()
}

fn document(path: &str) -> Document {
    let path = root().join(path);
    Document { text: fs::read_to_string(&path).expect("a document is UTF-8"), path }
}

fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the repository")
        .to_owned()
}
