//! The coverage of the files of a parser. libFuzzer counts the edges of all of Keyswap, of which a
//! parser is a small part.
//!
//! The instrumentation of LLVM has a counter and a table entry for each edge. The counters are of
//! one input, because libFuzzer resets them before each run.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    fs,
    path::Path,
    slice,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::targets::Target;

/// An entry of the table: the address of the edge, and flags.
type TableEntry = [usize; 2];

unsafe extern "C" {
    #[link_name = "__start___sancov_cntrs"]
    static FIRST_COUNTER: u8;
    #[link_name = "__stop___sancov_cntrs"]
    static END_OF_COUNTERS: u8;
    #[link_name = "__start___sancov_pcs"]
    static FIRST_ENTRY: TableEntry;
    #[link_name = "__stop___sancov_pcs"]
    static END_OF_TABLE: TableEntry;

    fn atexit(callback: extern "C" fn()) -> i32;
}

/// The target and the file for its coverage, if one is requested.
static REPORT: OnceLock<(&Target, String)> = OnceLock::new();
/// Whether each edge was executed.
static EXECUTED: Mutex<Vec<bool>> = Mutex::new(Vec::new());

fn counters() -> &'static [u8] {
    // SAFETY: the linker defines both symbols as the bounds of one section of bytes. Other threads
    // may write to it: a counter that is read too early is seen after the next input.
    unsafe {
        let (first, end) = (&raw const FIRST_COUNTER, &raw const END_OF_COUNTERS);
        slice::from_raw_parts(first, end.offset_from_unsigned(first))
    }
}

fn table() -> &'static [TableEntry] {
    // SAFETY: as above. Nothing writes to the table.
    unsafe {
        let (first, end) = (&raw const FIRST_ENTRY, &raw const END_OF_TABLE);
        slice::from_raw_parts(first, end.offset_from_unsigned(first))
    }
}

/// Writes the coverage when the program ends, if `KEYSWAP_FUZZ_COVERAGE` names a file.
pub fn report_at_exit(target: &'static Target) {
    if let Ok(path) = std::env::var("KEYSWAP_FUZZ_COVERAGE") {
        assert!(REPORT.set((target, path)).is_ok());
        // SAFETY: the callback is a function without captured state.
        assert_eq!(unsafe { atexit(write_report) }, 0);
    }
}

/// Adds the edges of the last input.
pub fn record() {
    if REPORT.get().is_none() {
        return;
    }
    let mut executed = EXECUTED.lock().unwrap_or_else(PoisonError::into_inner);
    executed.resize(counters().len(), false);
    for (seen, counter) in executed.iter_mut().zip(counters()) {
        *seen |= *counter > 0;
    }
}

extern "C" fn write_report() {
    let Some((target, path)) = REPORT.get() else { return };
    let executed = EXECUTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut files: BTreeMap<&str, (usize, usize)> = target.parsers.iter().map(|file| (*file, (0, 0))).collect();
    for ([address, _], executed) in table().iter().zip(executed.iter()) {
        // An edge of an inlined function belongs to the file of that function.
        let mut file = None;
        backtrace::resolve(*address as *mut c_void, |symbol| {
            if file.is_none() {
                file = symbol.filename().and_then(find_source);
            }
        });
        if let Some((covered, all)) = file.and_then(|file| files.get_mut(file.as_str())) {
            *covered += usize::from(*executed);
            *all += 1;
        }
    }
    let lines: String = files.iter().map(|(file, (covered, all))| format!("{covered} {all} {file}\n")).collect();
    if let Err(error) = fs::write(path, lines) {
        eprintln!("failed to write {path}: {error}");
    }
}

/// The path of a source file of Keyswap, from the root of its repository.
fn find_source(path: &Path) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    // Paths of a package in a parent directory are absolute, or begin with `..`.
    let source = path.strip_prefix(root).or_else(|_| path.strip_prefix("../.."));
    source.unwrap_or(path).to_str().filter(|source| source.starts_with("src/")).map(str::to_owned)
}
