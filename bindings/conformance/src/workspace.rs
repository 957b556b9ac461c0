//! Where things are: the checkout, the one cache folder, the folder of built artefacts.
use std::path::{Path, PathBuf};

/// The root of the checkout that this tool was built from.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The one folder outside the checkout that this tool writes to: `NATSUNE_CACHE`, else `natsune` in the user's cache folder.
pub fn cache() -> PathBuf {
    if let Some(path) = std::env::var_os("NATSUNE_CACHE") {
        return PathBuf::from(path);
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    base.or_else(home).unwrap_or_else(std::env::temp_dir).join("natsune")
}

/// Cargo's target folder of this checkout.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Built packages and the fresh environments they are installed into.
pub fn dist() -> PathBuf {
    target().join("natsune")
}

/// A program of the tool's own Python environment.
pub fn venv(program: &str) -> PathBuf {
    cache().join("venv/bin").join(program)
}

/// The real nats-server: `NATSUNE_NATS_SERVER`, else the pinned one in the cache.
pub fn nats_server() -> PathBuf {
    std::env::var_os("NATSUNE_NATS_SERVER").map_or_else(|| venv("nats-server"), PathBuf::from)
}

/// The real `nats` command line, built from its Go module.
pub fn nats_cli() -> PathBuf {
    std::env::var_os("NATSUNE_NATS_CLI").map_or_else(|| cache().join("bin/nats"), PathBuf::from)
}

/// The version that all crates and packages share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// True where a skip must be a failure.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
