//! Writes the Swift and Kotlin sides of the control lane from the built library.
//!
//! `natsune-bindgen <swift|kotlin> <library> <folder>`: the library must still have its symbol table, so give the static
//! library, or a shared one built with `strip = "debuginfo"`. Run it in the checkout: the names are in `ffi/uniffi.toml`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use uniffi::{GenerateOptions, TargetLanguage};

const USAGE: &str = "usage: natsune-bindgen <swift|kotlin> <library> <folder>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [language, library, folder] = arguments.as_slice() else { return fail(USAGE) };
    let language = match language.as_str() {
        "swift" => TargetLanguage::Swift,
        "kotlin" => TargetLanguage::Kotlin,
        _ => return fail(USAGE),
    };
    let options = GenerateOptions {
        languages: vec![language],
        source: library.into(),
        out_dir: folder.into(),
        config_override: None,
        format: false,
        crate_filter: None,
        metadata_no_deps: false,
    };
    match uniffi::generate(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("natsune-bindgen: {text}");
    ExitCode::FAILURE
}
