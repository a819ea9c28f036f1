//! The documents: links, anchors and paths lead to what exists, and the guide contains the example
//! programs unchanged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const GUIDE: &str = "docs/guides/verify-tokens.md";

/// The documents outside of `docs` and `clients`.
const OTHERS: &[&str] =
    &["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "migrations/README.md", "keys/README.md"];

#[test]
fn guide_contains_the_examples_unchanged() {
    let guide = Document::parse(&read(GUIDE));
    let mut programs = Vec::new();
    for folder in ["examples/verify", "examples/verifying"] {
        let before = programs.len();
        find(&root().join(folder), &|_| true, &mut programs);
        assert!(programs.len() > before, "{folder} is empty");
    }
    let others: Vec<_> = programs
        .iter()
        .filter(|program| !guide.contains_program(&fs::read_to_string(program).unwrap()))
        .map(|program| format!("{GUIDE} does not contain {} as it is", name_of(program)))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn links_lead_to_files_and_headings() {
    let documents = documents();
    let faults: Vec<_> = documents.iter().flat_map(|(name, document)| broken_links(name, document)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let links: usize = documents.values().map(|document| document.links.len()).sum();
    assert!(links > 300, "only {links} links were found");
}

#[test]
fn paths_in_backticks_exist() {
    let documents = documents();
    let faults: Vec<_> = documents.iter().flat_map(|(name, document)| missing_paths(name, document)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let paths: usize = documents.values().map(|document| document.paths().count()).sum();
    assert!(paths > 100, "only {paths} paths were found");
}

#[test]
fn document_checks_report_planted_faults() {
    let text = "# Two `words`, one_name\n## Again\n## Again\n[a](#two-words-one_name) [b](#again-1) [c](#again-2)\n\
        [over two\nlines](../keys/none.md) ![image](quick-start.md#nowhere) `[code](none)`\n\
        ```sh\n[block](none)\n# no heading\n```\n\
        [out](https://example.com/x) [good](quick-start.md) [text](quick-start.md \"with a title\")\n\
        `src/lib.rs` `src/none.rs` ``tests/none `x` `` `tests/interop/run -k x`\n";
    let document = Document::parse(text);
    assert_eq!(document.anchors, ["again", "again-1", "two-words-one_name"].map(str::to_owned).into());
    assert_eq!(
        broken_links("docs/x.md", &document),
        [
            "docs/x.md: #again-2 leads to no heading",
            "docs/x.md: ../keys/none.md leads to no file",
            "docs/x.md: quick-start.md#nowhere leads to no heading",
        ]
    );
    let missing = ["docs/x.md: src/none.rs does not exist", "docs/x.md: tests/none does not exist"];
    assert_eq!(missing_paths("docs/x.md", &document), missing);
    let shown = Document::parse("```js\nlet a;\n\nlet b;\n```\n");
    assert!(shown.contains_program("let a;\n\nlet b;\n"));
    assert!(!shown.contains_program("let a;\n") && !shown.contains_program("let a;\nlet b;\n"));
}

#[derive(Default)]
struct Document {
    links: Vec<String>,
    /// The texts of inline code.
    code: Vec<String>,
    /// The contents of fenced code blocks.
    blocks: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Document {
    fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let (mut prose, mut block) = (String::new(), None::<(&str, String)>);
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            let fence = fence(line);
            match &mut block {
                Some((opened, content)) if fence.starts_with(*opened) && line.trim() == fence => {
                    document.blocks.push(std::mem::take(content));
                    block = None;
                }
                Some((_, content)) => content.extend([line, "\n"]),
                None if fence.is_empty() => {
                    if let Some(heading) = heading(line) {
                        document.anchors.insert(anchor(heading, &mut seen));
                    }
                    prose.extend([line, "\n"]);
                }
                None => block = Some((fence, String::new())),
            }
        }
        assert!(block.is_none(), "a code block does not end");
        let prose = document.take_code(&prose);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
        document.links = targets.map(str::to_owned).collect();
        document
    }

    /// Moves inline code to `code` and returns the rest of the text.
    fn take_code(&mut self, text: &str) -> String {
        let (mut prose, mut rest) = (String::new(), text);
        while let Some(start) = rest.find('`') {
            let (before, from) = rest.split_at(start);
            prose += before;
            let ticks = &from[..from.len() - from.trim_start_matches('`').len()];
            let after = &from[ticks.len()..];
            if let Some(end) = closing(after, ticks) {
                self.code.push(after[..end].to_owned());
                rest = &after[end + ticks.len()..];
            } else {
                rest = after;
            }
        }
        prose + rest
    }

    fn contains_program(&self, program: &str) -> bool {
        self.blocks.iter().any(|block| block.trim_end_matches('\n') == program.trim_end_matches('\n'))
    }

    /// The paths in inline code that begin with `src/` or `tests/`, without arguments after them.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let words = self.code.iter().filter_map(|code| code.split_whitespace().next());
        words.filter(|word| word.starts_with("src/") || word.starts_with("tests/"))
    }
}

/// The backticks or tildes with which a line opens or closes a code block; empty for other lines.
fn fence(line: &str) -> &str {
    let line = line.trim_start();
    let of = |mark| &line[..line.len() - line.trim_start_matches(mark).len()];
    let fence = if line.starts_with('~') { of('~') } else { of('`') };
    if fence.len() >= 3 { fence } else { "" }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    text.strip_prefix(' ').filter(|_| (1..=6).contains(&level))
}

/// The position of the next run of backticks that is as long as `ticks`.
fn closing(text: &str, ticks: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        at += found;
        let length = text.len() - at - text[at..].trim_start_matches('`').len();
        if length == ticks.len() {
            return Some(at);
        }
        at += length;
    }
    None
}

/// The anchor that GitHub gives a heading. `seen` counts the headings with the same text.
fn anchor(heading: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let mut text = String::new();
    // Of a link only its text counts.
    for (number, part) in heading.split("](").enumerate() {
        text += if number == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) };
    }
    let kept = text.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    let anchor: String = kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect();
    let count = seen.entry(anchor.clone()).or_insert(0);
    *count += 1;
    if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
}

fn broken_links(name: &str, document: &Document) -> Vec<String> {
    let is_external = |link: &str| link.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '#', '.']));
    let relative = document.links.iter().filter(|link| !is_external(link));
    relative.filter_map(|link| Some(format!("{name}: {link} {}", fault_of(name, document, link)?))).collect()
}

fn fault_of(name: &str, document: &Document, link: &str) -> Option<&'static str> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = root().join(name).parent().unwrap().join(path);
    if !path.is_empty() && !target.exists() {
        return Some("leads to no file");
    }
    let anchor = anchor?;
    let has_heading = if path.is_empty() {
        document.anchors.contains(anchor)
    } else {
        path.ends_with(".md") && Document::parse(&fs::read_to_string(target).unwrap()).anchors.contains(anchor)
    };
    (!has_heading).then_some("leads to no heading")
}

fn missing_paths(name: &str, document: &Document) -> Vec<String> {
    let missing = document.paths().filter(|path| !root().join(path).exists());
    missing.map(|path| format!("{name}: {path} does not exist")).collect()
}

/// All documents by their names.
fn documents() -> BTreeMap<String, Document> {
    let mut paths: Vec<_> = OTHERS.iter().map(|name| root().join(name)).collect();
    find(&root().join("docs"), &|name| name.ends_with(".md"), &mut paths);
    find(&root().join("clients"), &|name| name == "README.md", &mut paths);
    paths.iter().map(|path| (name_of(path), Document::parse(&fs::read_to_string(path).unwrap()))).collect()
}

fn find(folder: &Path, is_wanted: &dyn Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "node_modules" {
                find(&path, is_wanted, found);
            }
        } else if is_wanted(name) {
            found.push(path);
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The path of a file from the root of the repository.
fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
